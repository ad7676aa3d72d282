"""The difference between a spec and the inventory, as a value: what would be done, before anything is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from rollwave.web.fields import as_json
from rollwave.web.json_text import encode
from rollwave.web.spec.inventory import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rollwave.web.spec.format import AppSpec, GroupSpec, ServerSpec, Spec
    from rollwave.web.spec.inventory import Inventory
    from rollwave.web.subscriptions import Wanted


class Do(Enum):
    """What becomes of one thing."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """
    What becomes of one thing of the inventory.

    Attributes:
        do: What.
        kind: app, server, group, instance or subscription.
        name: Its name.
        values: The columns to write; for an update only those that differ.
        before: Their values before an update.
        note: Why nothing happens where somebody might expect it.
        place: Of an instance.
        wanted: Of a subscription: all of it, secrets included; never shown.
    """

    do: Do
    kind: str
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    place: Place | None = None
    wanted: Wanted | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return it as the API shows it: each field with what it was and what it becomes."""
        shown = {name: {"from": self.before.get(name), "to": value} for name, value in self.values.items()}
        notes = {"note": self.note} if self.note else {}
        return {"action": self.do.value, "kind": self.kind, "name": self.name, "changes": {**shown, **notes}}


def digest_of(decided: Iterable[Change]) -> str:
    """Return what stands for *decided*: other changes have another one, also where only a secret differs."""
    said = [[one.to_json(), repr(one.wanted and one.wanted.settings)] for one in decided if one.do is not Do.UNCHANGED]
    return hashlib.sha256(encode(said)).hexdigest()


def changes(spec: Spec, inventory: Inventory, *, prune: bool) -> list[Change]:
    """Return what becomes of everything that *spec* names, in an order in which it can be done."""
    found = [_compared("app", one.item.name, _app(one.item), inventory.apps.get(one.item.name)) for one in spec.apps]
    found += [
        _compared("server", one.item.name, _server(one.item), inventory.servers.get(one.item.name))
        for one in spec.servers
    ]
    for one in spec.groups:
        row = inventory.groups.get(one.item.name)
        found.append(_compared("group", one.item.name, _group(one.item), row, app=row.app.name if row else None))
    for one in spec.groups:
        found += _instances(one.item, inventory, prune=prune)
    return found


def places(group: GroupSpec) -> list[Place]:
    """Return the instances that a group lists; those without any port are left out."""
    named = [(one.server, one.port or group.port) for one in group.instances]
    return [Place(group.name, server, port) for server, port in named if port]


def _compared(kind: str, name: str, values: Mapping[str, Any], row: Any, **known: Any) -> Change:
    if row is None:
        return Change(do=Do.CREATE, kind=kind, name=name, values=values)
    before = {field: known.get(field, getattr(row, field)) for field in values}
    changed = {field: value for field, value in values.items() if before[field] != value}
    do = Do.UPDATE if changed else Do.UNCHANGED
    return Change(do=do, kind=kind, name=name, values=changed, before={field: before[field] for field in changed})


def _app(item: AppSpec) -> dict[str, Any]:
    return {"description": item.description}


def _server(item: ServerSpec) -> dict[str, Any]:
    offline = {} if item.offline is None else {"offline": item.offline}
    return {"address": item.address, "site": item.site, **offline}


def _group(item: GroupSpec) -> dict[str, Any]:
    return {
        "app": item.app,
        "environment": item.environment,
        "deploy_path": item.deploy_path,
        "health_path": item.health_path,
        "version_path": item.version_path or "",
        "start": item.start,
        "stop": item.stop,
        "command_timeout_s": item.command_timeout_s,
        "drain_timeout_s": item.drain_timeout_s,
        "keep_versions": item.keep_versions,
        "executor": item.executor,
        "balancer": item.balancer or "",
        "pool": (item.pool or item.name) if item.balancer else "",
        "canaries": item.canaries,
        "config": as_json(item.config, sorted(item.config.model_fields_set)),
    }


def _instances(item: GroupSpec, inventory: Inventory, *, prune: bool) -> Iterator[Change]:
    listed = places(item)
    for place in listed:
        do = Do.UNCHANGED if place in inventory.instances else Do.CREATE
        yield Change(do=do, kind="instance", name=place.name, place=place)
    for place in sorted(set(inventory.of_group(item.name)).difference(listed)):
        if prune:
            yield Change(do=Do.DELETE, kind="instance", name=place.name, place=place)
        else:
            note = "not in the spec; kept, because removing instances needs prune"
            yield Change(do=Do.UNCHANGED, kind="instance", name=place.name, place=place, note=note)
