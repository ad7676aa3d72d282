"""Against guessing: an address that tries many names, and passwords that are made of what everybody here knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from rollwave.store.models import App, Group
from rollwave.web.origin import address_of, is_one_clients

if TYPE_CHECKING:
    from django.http import HttpRequest

MOST: Final = 100
"""Wrong passwords from one address, whatever the names, before it has to wait: an office behind it makes some, too."""

_LEFT: Final = 8
"""So many characters of a password are to be nobody's word."""


class AddressLimit:
    """Authentication backend that admits nobody, and stops all from an address that has guessed too often."""

    def authenticate(self, request: HttpRequest | None, **_credentials: Any) -> None:
        """
        Return None.

        Raises:
            PermissionDenied: If too much came from there lately.
        """
        from axes.models import AccessAttempt  # type: ignore[import-untyped]  # noqa: PLC0415  # not before models are there

        if request is None or not is_one_clients(request):
            return
        since = timezone.now() - settings.AXES_COOLOFF_TIME
        lately = AccessAttempt.objects.filter(ip_address=address_of(request), attempt_time__gte=since)
        if (lately.aggregate(count=Sum("failures_since_start"))["count"] or 0) >= MOST:
            request.axes_locked_out = True  # type: ignore[attr-defined]  # as axes says it
            raise PermissionDenied


class ContextWords:
    """Password validator: names of apps and groups, and our own, are the first that anybody would try."""

    def validate(self, password: str, user: object = None) -> None:
        """Raise ValidationError for a password that is little more than such words."""
        del user
        left = password.lower()
        for word in sorted(_words(), key=len, reverse=True):
            left = left.replace(word, "")
        if left != password.lower() and len(left) < _LEFT:
            raise ValidationError(self.get_help_text(), code="password_context")

    def get_help_text(self) -> str:
        """Return what the form says."""
        return _("Names of apps and groups, and “rollwave”, do not make a password.")


def _words() -> set[str]:
    names = [*App.objects.values_list("name", flat=True), *Group.objects.values_list("name", flat=True)]
    parts = {part for name in names for part in re.split(r"[^a-z0-9]+", name.lower())}
    # Shorter ones stand in many good passwords by chance.
    return {word for word in {"rollwave", *(name.lower() for name in names), *parts} if len(word) >= 4}
