"""What every page shows around its content: the navigation, the theme, the other language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from msgspec import Struct

from rollwave.store.models import FINAL_PHASES, Deployment
from rollwave.web.access import Permission, may, principal_of_user, within
from rollwave.web.portal.theme import Theme, theme_of

if TYPE_CHECKING:
    from django.http import HttpRequest

    from rollwave.web.access import Principal


class Link(Struct, frozen=True, kw_only=True):
    """
    An entry of the navigation.

    Attributes:
        name: Name of its route.
        label: What it says.
        icon: Name of its icon, for the menu of small screens.
        prefixes: Beginnings of the addresses that belong to it.
        is_for_managers: Only whoever may manage everything is shown the entry.
    """

    name: str
    label: Any
    icon: str
    prefixes: tuple[str, ...] = ()
    is_for_managers: bool = False

    def is_current(self, path: str) -> bool:
        """Return whether the page at *path* belongs to it."""
        return path == reverse(self.name) or path.startswith(self.prefixes)


NAVIGATION: Final = (
    Link(name="portal:overview", label=_("Overview"), icon="layout-dashboard"),
    Link(name="portal:deployments", label=_("Releases"), icon="rocket", prefixes=("/deployments",)),
    Link(
        name="portal:fleet",
        label=_("Fleet"),
        icon="server",
        prefixes=("/fleet", "/apps", "/groups", "/servers"),
    ),
    Link(name="portal:packages", label=_("Packages"), icon="package", prefixes=("/packages",)),
    Link(name="portal:audit", label=_("Audit log"), icon="scroll-text", prefixes=("/audit",)),
    Link(
        name="portal:settings",
        label=_("Settings"),
        icon="settings",
        prefixes=("/settings", "/users", "/tokens", "/notifications"),
        is_for_managers=True,
    ),
)

_THEMES: Final = {
    Theme.SYSTEM: ("sun-moon", _("Theme: as the system")),
    Theme.LIGHT: ("sun", _("Theme: light")),
    Theme.DARK: ("moon", _("Theme: dark")),
}


def frame(request: HttpRequest) -> dict[str, Any]:
    """Return what the template of the frame needs, as a context processor."""
    theme = theme_of(request)
    icon, label = _THEMES[theme]
    return {
        "navigation": SimpleLazyObject(lambda: _navigation(request)),
        "theme": {"now": theme.value, "next": theme.following.value, "icon": icon, "label": label},
        "may_manage": SimpleLazyObject(lambda: _may_manage(request)),
        "is_chinese": (get_language() or "").startswith("zh"),
    }


def _who(request: HttpRequest) -> Principal | None:
    return getattr(request, "principal", None) or principal_of_user(request.user)


def _may_manage(request: HttpRequest) -> bool:
    principal = _who(request)
    return principal is not None and may(principal, Permission.MANAGE)


def _navigation(request: HttpRequest) -> list[dict[str, Any]]:
    principal = _who(request)
    if principal is None:
        return []
    return [
        {
            "url": reverse(link.name),
            "label": link.label,
            "icon": link.icon,
            "current": link.is_current(request.path),
            "count": _active_count(principal) if link.name == "portal:deployments" else 0,
        }
        for link in NAVIGATION
        if not link.is_for_managers or may(principal, Permission.MANAGE)
    ]


def _active_count(principal: Principal) -> int:
    """Return how many releases are not over, of those that *principal* may see."""
    seen = within(principal, Permission.VIEW, app="group__app__name", environment="group__environment")
    return Deployment.objects.filter(seen).exclude(phase__in=FINAL_PHASES).count()
