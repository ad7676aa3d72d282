"""The form that a release is started with: what was typed, and what is wrong with it, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from msgspec.structs import fields
from pydantic import ValidationError

from rollwave.domain.config import RANGES, DeploymentConfig
from rollwave.domain.errors import RollwaveError
from rollwave.domain.model import Kind
from rollwave.store.models import Group, Package
from rollwave.web.access import Permission, within
from rollwave.web.api import plans
from rollwave.web.api.deployments import DeploymentIn
from rollwave.web.fields import as_json, merged
from rollwave.web.portal.words import CHOICES, SETTING_LABELS, wrong
from rollwave.web.problems import problems_of
from rollwave.web.spoken import spoken
from rollwave.web.told import told
from rollwave.web.typed import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, QueryDict

    from rollwave.web.access import Principal
    from rollwave.web.api.plans import PlanOut
    from rollwave.web.problems import Problem

_PACKAGES: Final = 50
"""So many of the newest packages are offered, before somebody asks for older ones, too."""


class ReleaseForm:
    """
    What somebody wants to release.

    Args:
        data: What was typed, as it came.
        principal: Who.

    Attributes:
        errors: What is wrong, by the name of the field; ``""`` for what is no field's fault.
        plan: What would happen; None where something is wrong or missing.
    """

    def __init__(self, data: QueryDict, principal: Principal) -> None:
        self.data = data
        self.errors: dict[str, str] = {}
        self.plan: PlanOut | None = None
        may_release = within(principal, Permission.OPERATE, app="app__name", environment="environment")
        self.groups = list(Group.objects.filter(may_release).select_related("app"))
        self.group = next((one for one in self.groups if one.name == self.text("group")), None)
        self.app = self.group.app.name if self.group else self.text("app")
        packages = Package.objects.filter(within(principal, Permission.VIEW, app="app__name"), app__name=self.app)
        shown = list(packages if self.text("older") else packages[:_PACKAGES])
        # Whoever comes with an older one, from its page, is not refused it.
        asked = packages.filter(version=self.text("version")).exclude(id__in=[one.id for one in shown])
        self.packages = [*shown, *asked]
        self.has_older = packages.count() > _PACKAGES

    def text(self, name: str) -> str:
        """Return what stands in a field."""
        return self.data.get(name, "").strip()

    @property
    def kind(self) -> str:
        """What the release is for."""
        return self.text("kind") or Kind.ROLLOUT.value

    @property
    def is_complete(self) -> bool:
        """Whether there is enough to make a plan of."""
        return self.group is not None and bool(self.text("version") or self.kind != Kind.ROLLOUT.value)

    @property
    def settings(self) -> list[dict[str, Any]]:
        """The settings as fields: name, label, what stands there, and what the group's own value is."""
        usual = as_json(merged(self.group.config if self.group else {}))
        return [
            {
                "name": one.name,
                "label": SETTING_LABELS.get(one.name, one.name),
                "value": self.data.get(one.name, ""),
                "usual": usual[one.name],
                "range": RANGES.get(one.name),
                "choices": CHOICES.get(one.name, {}),
                "error": self.errors.get(one.name),
            }
            for one in fields(DeploymentConfig)
        ]

    @property
    def has_settings(self) -> bool:
        """Whether a setting differs from the group's own."""
        return bool(self._settings())

    def wanted(self) -> DeploymentIn | None:
        """Return the request that the API would get; None, with `errors`, where it is not one."""
        body: dict[str, Any] = {
            "group": self.text("group"),
            "version": self.text("version") or None,
            "kind": self.kind,
            "reason": self.text("reason"),
            "start": self.data.get("later") != "on",
            "config": self._settings(),
        }
        if self.group is None:
            known = ", ".join(one.name for one in self.groups[:5]) or _("a group that you may release to")
            self.errors["group"] = wrong(_("Group"), self.text("group"), _("one of %(known)s") % {"known": known})
            return None
        try:
            return DeploymentIn.model_validate(body)
        except ValidationError as error:
            for problem in problems_of(error, DeploymentIn):
                self._refuse_value(problem)
            return None

    def look(self, request: HttpRequest) -> None:
        """Make the plan, or say what is wrong."""
        body = self.wanted()
        if body is None:
            return
        try:
            self.plan = plans.make_plan(request, body)
        except RollwaveError as error:
            self.refuse(error)

    def refuse(self, error: RollwaveError) -> None:
        """Put an error of the engine beside the field that it is about."""
        field = error.facts.get("field") or {"package": "version", "group": "group"}.get(str(error.facts.get("kind")))
        self._put(str(field or ""), told(error))

    def _refuse_value(self, problem: Problem) -> None:
        name = problem.path.rpartition(".")[2]
        if name not in RANGES:
            self._put(name, spoken(problem.message))
            return
        low, high = RANGES[name]
        expected = _("a whole number from %(low)s to %(high)s") % {"low": low, "high": high}
        self._put(name, wrong(str(SETTING_LABELS[name]), self.text(name), expected))

    def _put(self, field: str, message: str) -> None:
        self.errors.setdefault(field.rpartition(".")[2], message)

    def _settings(self) -> Mapping[str, Any]:
        """Return what was typed into the settings, as JSON values; an empty field keeps the group's own."""
        given = {one.name: self.text(one.name) for one in fields(DeploymentConfig)}
        return {name: _value(name, value) for name, value in given.items() if value}


def _value(name: str, text: str) -> object:
    """Return a typed value; what is none stays text, and is then refused by name."""
    if name in RANGES:
        given = number(text)
        return text if given is None else given
    return {"true": True, "false": False}.get(text, text)
