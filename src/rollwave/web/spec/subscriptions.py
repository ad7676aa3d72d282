"""Subscriptions of teams in a spec: compared without their secrets being shown, written as the API writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rollwave.domain.said import said
from rollwave.notify.config import from_sealed, read_config, reason_of
from rollwave.store.sealing import unseal
from rollwave.web import subscriptions
from rollwave.web.problems import Problem, wrong
from rollwave.web.spec.changes import Change, Do
from rollwave.web.subscriptions import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollwave.store.models import Subscription
    from rollwave.web.access import Place, Principal
    from rollwave.web.spec.format import Placed, Spec, SubscriptionSpec
    from rollwave.web.spec.inventory import Inventory

_CHANGED = "(changed)"
_KEPT = "(as before)"


def changes(spec: Spec, inventory: Inventory) -> list[Change]:
    """Return what becomes of every subscription that *spec* names."""
    return [_compared(one.item, inventory.subscriptions.get(one.item.name)) for one in spec.subscriptions]


def check(spec: Spec, inventory: Inventory) -> Iterator[Problem]:
    """Give what is wrong with them; no value of a setting is repeated, for it may be a secret."""
    for one in spec.subscriptions:
        item, path, row = one.item, one.path, inventory.subscriptions.get(one.item.name)
        if not item.topics:
            yield wrong(f"{path}.topics", [], said("it names no topic"))
        if row is not None and row.person:
            yield wrong(
                f"{path}.name",
                item.name,
                said("this is %(person)s's own subscription; take another name", person=row.person),
            )
        known = {"groups": (said("group"), {*inventory.groups, *spec.mentioned["groups"]})}
        known["apps"] = said("app"), {*inventory.apps, *spec.mentioned["apps"]}
        for field, (what, names) in known.items():
            for index, name in enumerate(getattr(item, field)):
                if name not in names:
                    yield wrong(f"{path}.{field}[{index}]", name, said("there is no such %(what)s", what=what))
        yield from _settings(one, row)


def write(change: Change, principal: Principal) -> None:
    """Make or change one."""
    assert change.wanted is not None
    subscriptions.put(principal, change.name, change.wanted)


def places(change: Change, inventory: Inventory) -> list[Place]:
    """Return what a changed subscription tells about, and what it told about before."""
    wanted = change.wanted
    assert wanted is not None
    row = inventory.subscriptions.get(change.name)
    before = subscriptions.places_of(row.groups, row.apps, row.environments) if row else []
    return [*before, *subscriptions.places_of(wanted.groups, wanted.apps, wanted.environments)]


def _compared(item: SubscriptionSpec, row: Subscription | None) -> Change:
    enabled = (row.enabled if row else True) if item.enabled is None else item.enabled
    wanted = Wanted(
        channel=item.channel,
        settings=_settings_of(item, row),
        is_own=False,
        language=item.language,
        topics=list(dict.fromkeys(item.topics)),
        groups=item.groups,
        apps=item.apps,
        environments=item.environments,
        enabled=enabled,
    )
    values: dict[str, Any] = {
        "channel": item.channel,
        "language": item.language.value,
        "topics": [topic.value for topic in wanted.topics],
        "groups": item.groups,
        "apps": item.apps,
        "environments": item.environments,
        "enabled": enabled,
    }
    if row is None:
        return Change(do=Do.CREATE, kind="subscription", name=item.name, values=values, wanted=wanted)
    shown = subscriptions.shown(row)
    changed = {field: value for field, value in values.items() if shown[field] != value}
    before = {field: shown[field] for field in changed}
    if _is_reached_otherwise(item, row):
        changed["settings"], before["settings"] = _CHANGED, _KEPT
    do = Do.UPDATE if changed else Do.UNCHANGED
    return Change(do=do, kind="subscription", name=item.name, values=changed, before=before, wanted=wanted)


def _settings_of(item: SubscriptionSpec, row: Subscription | None) -> dict[str, Any] | None:
    """Return the settings as they are meant: a webhook that names no secret keeps the one that its receiver knows."""
    return None if item.settings is None else subscriptions.completed(row, item.channel, item.settings)


def _is_reached_otherwise(item: SubscriptionSpec, row: Subscription) -> bool:
    settings = _settings_of(item, row)
    if settings is None:
        return False
    try:
        return read_config(item.channel, settings) != from_sealed(unseal(row.sealed))
    except ValueError:
        return True


def _settings(one: Placed[SubscriptionSpec], row: Subscription | None) -> Iterator[Problem]:
    item, path = one.item, f"{one.path}.settings"
    settings = _settings_of(item, row)
    if settings is None:
        if row is None or row.channel != item.channel:
            yield Problem(
                path=path,
                value=None,
                message=said("%(path)s is missing: how to reach %(channel)s", path=path, channel=item.channel),
            )
        return
    if item.channel == "webhook" and not settings.get("secret"):
        # The API makes one and shows it once; whoever applies a file would never see it.
        yield Problem(
            path=path,
            value=None,
            message=said("%(path)s names no secret; expected whsec_ and base64 of 32 bytes", path=path),
        )
        return
    try:
        read_config(item.channel, settings)
    except ValueError as error:
        yield Problem(path=path, value=None, message=said("%(path)s: %(error)s", path=path, error=reason_of(error)))
