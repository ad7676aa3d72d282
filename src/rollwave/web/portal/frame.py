"""What every page shows around its content: the navigation, the theme, the other language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from msgspec import Struct

from rollwave.web.portal.theme import Theme, theme_of

if TYPE_CHECKING:
    from django.http import HttpRequest


class Link(Struct, frozen=True, kw_only=True):
    """
    An entry of the navigation.

    Attributes:
        name: Name of its route.
        label: What it says.
        icon: Name of its icon, for the menu of small screens.
        prefixes: Beginnings of the addresses that belong to it.
    """

    name: str
    label: Any
    icon: str
    prefixes: tuple[str, ...] = ()

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
        "navigation": SimpleLazyObject(lambda: _navigation(request.path)),
        "theme": {"now": theme.value, "next": theme.following.value, "icon": icon, "label": label},
        "is_chinese": (get_language() or "").startswith("zh"),
    }


def _navigation(path: str) -> list[dict[str, Any]]:
    return [
        {"url": reverse(link.name), "label": link.label, "icon": link.icon, "current": link.is_current(path)}
        for link in NAVIGATION
    ]
