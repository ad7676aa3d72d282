"""Forms about people and their tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from rollwave.store.models import App, Group
from rollwave.web.access import EVERY, Grant, Role

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

_NAME = RegexValidator(r"\A[A-Za-z0-9][A-Za-z0-9._@-]{0,99}\Z", _("Letters, digits and . _ @ - only."))

_ROLES = (
    ("", _("No role")),
    (Role.VIEWER.value, _("Viewer")),
    (Role.OPERATOR.value, _("Operator")),
    (Role.APPROVER.value, _("Approver")),
    (Role.ADMIN.value, _("Admin")),
)

_DAYS = (("7", _("7 days")), ("30", _("30 days")), ("90", _("90 days")), ("365", _("One year")), ("", _("Never")))


class GrantForm(forms.Form):
    """A role, for an app and an environment; without a role it is taken away."""

    role = forms.ChoiceField(label=_("Role"), choices=_ROLES, required=False)
    app = forms.ChoiceField(label=_("App"), initial=EVERY)
    environment = forms.ChoiceField(label=_("Environment"), initial=EVERY)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        apps = App.objects.values_list("name", flat=True)
        environments = Group.objects.order_by("environment").values_list("environment", flat=True).distinct()
        self._offer("app", _("All apps"), apps)
        self._offer("environment", _("All environments"), environments)

    def _offer(self, field: str, every: Any, names: Iterable[str]) -> None:
        # A role may be for an app that is still to come, or gone: it is not lost by looking at it.
        kept = {str(self.initial.get(field) or EVERY)}
        offered = [(name, name) for name in sorted({*names, *kept} - {EVERY})]
        self.fields[field].choices = [(EVERY, every), *offered]  # type: ignore[attr-defined]  # a choice field


Grants = forms.formset_factory(GrantForm, extra=1, max_num=50)


def grants_in(formset: Any) -> list[Grant]:
    """Return the grants that a valid formset says."""
    rows = [form.cleaned_data for form in formset if form.cleaned_data.get("role")]
    return [Grant(role=Role(row["role"]), app=row["app"], environment=row["environment"]) for row in rows]


def rows_of(grants: Iterable[Grant]) -> list[dict[str, str]]:
    """Return grants as the first values of a formset."""
    return [{"role": one.role.value, "app": one.app, "environment": one.environment} for one in grants]


class NewUser(forms.Form):
    """Somebody who shall be able to sign in."""

    name = forms.CharField(label=_("Name"), max_length=100, validators=[_NAME])
    full_name = forms.CharField(label=_("Full name"), max_length=200, required=False)
    email = forms.EmailField(label=_("E-mail"), required=False)


class UserDetails(forms.Form):
    """What can be changed of somebody."""

    full_name = forms.CharField(label=_("Full name"), max_length=200, required=False)
    email = forms.EmailField(label=_("E-mail"), required=False)
    active = forms.BooleanField(label=_("May sign in"), required=False)


class NewToken(forms.Form):
    """A token to make."""

    name = forms.CharField(label=_("Name"), max_length=100, validators=[_NAME])
    days = forms.ChoiceField(label=_("Expires after"), choices=_DAYS, initial="90", required=False)
    until = forms.DateTimeField(label=_("Or exactly at (UTC)"), required=False)
    owner = forms.CharField(label=_("Owner"), max_length=150, required=False)

    def expires_at(self, now: datetime) -> datetime | None:
        """Return when it ends: at the moment that is named, else after so many days."""
        if self.cleaned_data["until"] is not None:
            until: datetime = self.cleaned_data["until"]
            return until
        days = self.cleaned_data["days"]
        return now + timedelta(days=int(days)) if days else None
