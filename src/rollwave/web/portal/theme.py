"""Light, dark, or as the system: a cookie, read by the server, so that no page is drawn in the wrong one first."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from django.http import HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

COOKIE: Final = "rollwave_theme"

_YEAR_S: Final = 365 * 24 * 3600


class Theme(Enum):
    """How pages look."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"

    @property
    def following(self) -> Theme:
        """The one that the switch goes on to."""
        members = list(Theme)
        return members[(members.index(self) + 1) % len(members)]


def theme_of(request: HttpRequest) -> Theme:
    """Return the theme that a browser asked for; that of its system where it named none that there is."""
    try:
        return Theme(request.COOKIES.get(COOKIE))
    except ValueError:
        return Theme.SYSTEM


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Remember ``theme`` in this browser and go back to ``next``."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        back = "/"
    response = HttpResponseRedirect(back)
    theme = request.POST.get("theme", "")
    if theme in {one.value for one in Theme}:
        response.set_cookie(COOKIE, theme, max_age=_YEAR_S, samesite="Lax", httponly=True, secure=request.is_secure())
    return response
