"""Bringing the inventory to a spec: checked as a whole, done in one transaction, all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rollwave.store import audit, fleets
from rollwave.store.deployments import active_of
from rollwave.store.dialect import alone, in_transaction, snapshot
from rollwave.store.models import App, Group, Instance, Server
from rollwave.web.access import Permission, Place
from rollwave.web.access import check as check_access
from rollwave.web.context import services
from rollwave.web.fleet import look_again
from rollwave.web.refusals import InvalidSpecError, SpecMovedError
from rollwave.web.spec import subscriptions
from rollwave.web.spec.changes import Change, Do, changes, digest_of
from rollwave.web.spec.check import check
from rollwave.web.spec.format import parse
from rollwave.web.spec.inventory import read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from rollwave.web.access import Principal
    from rollwave.web.spec.inventory import Inventory


def apply_spec(
    document: Any, *, prune: bool, dry_run: bool, principal: Principal, agreed: str | None = None
) -> list[Change]:
    """
    Bring the inventory to *document*; return what was done, or for a dry run what would be.

    Args:
        document: The spec.
        prune: Whether instances go that a group does not list any more.
        dry_run: Whether nothing is done.
        principal: Who asks.
        agreed: What `digest_of` said of the changes that somebody has looked at; None for whatever they are.

    Raises:
        InvalidSpecError: With everything that is wrong; nothing was changed.
        SpecMovedError: If the changes are other ones by now; nothing was changed.
        ForbiddenError: If *principal* may not manage something of what would change; nothing was changed.
    """
    if dry_run:
        with snapshot():
            decided, inventory = _decided(document, prune=prune)
            check_access(principal, Permission.MANAGE, _touched(decided, inventory))
            return decided
    rollwave = services()

    def apply() -> tuple[list[Change], list[int]]:
        alone("apply")
        decided, inventory = _decided(document, prune=prune)
        check_access(principal, Permission.MANAGE, _touched(decided, inventory))
        if agreed is not None and agreed != digest_of(decided):
            raise SpecMovedError
        active = _write(decided, inventory, actor=principal.name, now=rollwave.clock.now())
        # Last, for they may name what has come to be just now.
        for change in decided:
            if change.kind == "subscription" and change.do is not Do.UNCHANGED:
                subscriptions.write(change, principal)
        return decided, active

    decided, active = in_transaction(apply)
    look_again(active)
    return decided


def _decided(document: Any, *, prune: bool) -> tuple[list[Change], Inventory]:
    spec, problems = parse(document)
    rollwave = services()
    inventory = read(executors=frozenset(rollwave.executors), balancers=frozenset(rollwave.balancers))
    decided = [*changes(spec, inventory, prune=prune), *subscriptions.changes(spec, inventory)]
    if spec.mentioned:
        problems += [*check(spec, inventory, decided), *subscriptions.check(spec, inventory)]
    if problems:
        raise InvalidSpecError(problems)
    return decided, inventory


def _write(decided: Collection[Change], inventory: Inventory, *, actor: str, now: datetime) -> list[int]:
    """Do everything; return the deployments that have to look again."""
    todo = [change for change in decided if change.do is not Do.UNCHANGED and change.kind != "subscription"]
    active: set[int] = set()
    # New servers may be thousands, and a thousand statements are a long time for all others who want to write.
    Server.objects.bulk_create(
        [Server(name=change.name, **change.values) for change in todo if _is(change, "server", Do.CREATE)]
    )
    for change in todo:
        if change.kind == "app":
            App.objects.update_or_create(name=change.name, defaults=dict(change.values))
        elif _is(change, "server", Do.UPDATE):
            active |= _update_server(change, actor=actor, now=now)
        elif change.kind == "group":
            _write_group(change)
    touched = _write_instances([change for change in todo if change.place], inventory)
    groups = [change.name for change in todo if change.kind == "group"]
    touched |= set(Group.objects.filter(name__in=groups).values_list("id", flat=True))
    fleets.touch(touched)
    active |= set(active_of(touched))
    rows = Group.objects.values_list("name", "app__name", "environment")
    homes = {name: Place(app, environment) for name, app, environment in rows}
    audit.append([_audited(change, homes, actor=actor, now=now) for change in todo])
    return sorted(active)


def _touched(decided: Collection[Change], inventory: Inventory) -> Iterator[Place]:
    """Give what a spec changes: apps and groups are somebody's, servers are everybody's."""
    homes = {name: Place(row.app.name, row.environment) for name, row in inventory.groups.items()}
    todo = [change for change in decided if change.do is not Do.UNCHANGED]
    for change in todo:
        if change.kind == "app":
            yield Place(change.name)
        elif change.kind == "server":
            yield Place()
        elif change.kind == "group":
            if change.name in homes:
                yield homes[change.name]
            before = homes.get(change.name, Place())
            environment = change.values.get("environment", before.environment)
            homes[change.name] = Place(change.values.get("app", before.app), environment)
            yield homes[change.name]
        elif change.place:
            yield homes[change.place.group]
        elif change.kind == "subscription":
            yield from subscriptions.places(change, inventory)


def _is(change: Change, kind: str, do: Do) -> bool:
    return change.kind == kind and change.do is do


def _update_server(change: Change, *, actor: str, now: datetime) -> set[int]:
    """Update one server; return the deployments that have to look again."""
    values = dict(change.values)
    offline = values.pop("offline", None)
    row = Server.objects.get(name=change.name)
    if values:
        Server.objects.filter(pk=row.pk).update(**values)
    fleets.touch_servers([row.pk])
    if offline is not None:
        return set(services().store.set_offline(change.name, offline=offline, actor=actor, reason="spec", at=now))
    return set(active_of(set(Instance.objects.filter(server=row).values_list("group_id", flat=True))))


def _write_group(change: Change) -> None:
    values = dict(change.values)
    if "app" in values:
        values["app"] = App.objects.get(name=values["app"])
    Group.objects.update_or_create(name=change.name, defaults=values)


def _write_instances(todo: Collection[Change], inventory: Inventory) -> set[int]:
    """Create and delete instances in bulk; return their groups."""
    places = [change.place for change in todo if change.place and change.do is Do.CREATE]
    groups = _ids(Group, {change.place.group for change in todo if change.place})
    servers = _ids(Server, {place.server for place in places})
    Instance.objects.bulk_create(
        [Instance(group_id=groups[one.group], server_id=servers[one.server], port=one.port) for one in places]
    )
    gone = [inventory.instances[change.place] for change in todo if change.place and change.do is Do.DELETE]
    if gone:
        # Before they go, too: afterwards these groups may share no server with those whose room they were part of.
        fleets.touch(groups.values())
        leaving = {change.place.group for change in todo if change.place and change.do is Do.DELETE}
        if active_of({groups[name] for name in leaving}):
            # Since the check somebody has begun to release to them; from now on nobody can.
            raise SpecMovedError
    for start in range(0, len(gone), 500):
        Instance.objects.filter(id__in=gone[start : start + 500]).delete()
    return set(groups.values())


def _ids(model: Any, names: set[str]) -> Mapping[str, int]:
    return {name: one for name, one in model.objects.values_list("name", "id") if name in names}


def _audited(change: Change, homes: Mapping[str, Place], *, actor: str, now: datetime) -> audit.Entry:
    data = {"before": dict(change.before), "after": dict(change.values)} if change.values else {}
    action = f"{change.kind}.{change.do.value}"
    group = change.place.group if change.place else change.name if change.kind == "group" else ""
    app, environment = homes.get(group, Place(change.name if change.kind == "app" else "", ""))
    return audit.Entry(
        at=now,
        actor=actor,
        action=action,
        subject=change.name,
        app=app,
        environment=environment or "",
        group=group,
        data=data,
    )
