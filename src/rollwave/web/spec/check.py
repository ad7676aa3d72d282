"""What a well-formed spec may still get wrong: names that do not exist, places that are taken, releases that are on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from rollwave.domain.said import said
from rollwave.web.problems import Problem, did_you_mean, wrong
from rollwave.web.spec.changes import Do, places

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from rollwave.web.spec.changes import Change
    from rollwave.web.spec.format import GroupSpec, Placed, Spec
    from rollwave.web.spec.inventory import Inventory, Place

_MAY_CHANGE_DURING_A_RELEASE: Final = frozenset({"config", "canaries", "environment"})
"""Fields of a group that a deployment copied, or never looks at; the others are in the plans that hosts hold."""


def check(spec: Spec, inventory: Inventory, changes: Iterable[Change]) -> list[Problem]:
    """Return everything that is wrong with *spec*, in the order in which it stands there."""
    done = list(changes)
    problems = [*_doubled(spec)]
    for group in spec.groups:
        problems += _references(group, spec, inventory)
        problems += _against_active(group, inventory, done)
    problems += _moved_servers(spec, inventory, done)
    problems += _taken(spec, inventory, done)
    return problems


def _doubled(spec: Spec) -> Iterator[Problem]:
    for placed in (spec.apps, spec.servers, spec.groups, spec.subscriptions):
        seen: dict[str, str] = {}
        for one in placed:
            first = seen.setdefault(one.item.name, one.path)
            if first != one.path:
                yield wrong(f"{one.path}.name", one.item.name, said("it is the name of %(first)s already", first=first))


def _references(group: Placed[GroupSpec], spec: Spec, inventory: Inventory) -> Iterator[Problem]:
    item, path = group.item, group.path
    apps = spec.mentioned["apps"] | set(inventory.apps)
    servers = spec.mentioned["servers"] | set(inventory.servers)
    if item.app not in apps:
        yield _unknown(f"{path}.app", item.app, said("app"), apps)
    if item.executor not in inventory.executors:
        yield _unknown(f"{path}.executor", item.executor, said("configured executor"), inventory.executors)
    if item.balancer is not None and item.balancer not in inventory.balancers:
        yield _unknown(f"{path}.balancer", item.balancer, said("configured balancer"), inventory.balancers)
    if item.pool is not None and item.balancer is None:
        yield wrong(f"{path}.pool", item.pool, said("a pool means nothing without a balancer"))
    for index, instance in enumerate(item.instances):
        place = f"{path}.instances[{index}]"
        if instance.server not in servers:
            yield _unknown(place, instance.server, said("server"), servers)
        if instance.port is None and item.port is None:
            yield wrong(place, instance.server, said("it has no port: name one here, or for the whole group"))
    yield from _canaries(group)
    row = inventory.groups.get(item.name)
    if row is not None and row.app.name != item.app and item.name in inventory.used:
        yield wrong(
            f"{path}.app", item.app, said("the group has releases of %(name)s; make another group", name=row.app.name)
        )


def _canaries(group: Placed[GroupSpec]) -> Iterator[Problem]:
    of_group = {instance.server for instance in group.item.instances}
    for index, canary in enumerate(group.item.canaries):
        if canary not in of_group:
            yield _unknown(f"{group.path}.canaries[{index}]", canary, said("server of this group"), of_group)


def _against_active(group: Placed[GroupSpec], inventory: Inventory, changes: Iterable[Change]) -> Iterator[Problem]:
    active = inventory.active.get(group.item.name)
    if active is None:
        return
    finish = said("deployment %(active)s of this group is not over; finish it first", active=active)
    for change in changes:
        if change.kind == "group" and change.name == group.item.name and change.do is Do.UPDATE:
            for name in sorted(set(change.values) - _MAY_CHANGE_DURING_A_RELEASE):
                yield wrong(
                    f"{group.path}.{name}", change.values[name], said("it cannot change now: %(finish)s", finish=finish)
                )
        if change.place and change.place.group == group.item.name and change.do is Do.DELETE:
            yield wrong(
                f"{group.path}.instances", change.name, said("it cannot be removed now: %(finish)s", finish=finish)
            )


def _moved_servers(spec: Spec, inventory: Inventory, changes: Iterable[Change]) -> Iterator[Problem]:
    paths = {one.item.name: one.path for one in spec.servers}
    for change in changes:
        if change.kind != "server" or "address" not in change.before:
            continue
        busy = {place.group for place in inventory.instances if place.server == change.name} & set(inventory.active)
        for group in sorted(busy):
            finish = said(
                "deployment %(active)s of group %(group)s is not over; finish it first",
                active=inventory.active[group],
                group=group,
            )
            yield wrong(
                f"{paths[change.name]}.address",
                change.values["address"],
                said("it cannot change now: %(finish)s", finish=finish),
            )


def _taken(spec: Spec, inventory: Inventory, changes: Iterable[Change]) -> Iterator[Problem]:
    """Two instances cannot share an address and port, nor a directory."""
    wanted: dict[Place, str] = {}
    for group in spec.groups:
        listed = places(group.item)
        for place, count in Counter(listed).items():
            if count > 1:
                yield wrong(f"{group.path}.instances", place.name, said("it is listed twice"))
        wanted |= dict.fromkeys(listed, f"{group.path}.instances")
    gone = {change.place for change in changes if change.do is Do.DELETE}
    standing = [place for place in inventory.instances if place not in gone and place not in wanted]
    facts = _Facts(spec, inventory)
    owners: dict[Any, Place] = {}
    for place in [*standing, *wanted]:
        for what, key in ((said("port"), facts.socket(place)), (said("deploy path"), facts.directory(place))):
            owner = owners.setdefault(key, place)
            if owner is not place and place in wanted:
                yield wrong(
                    wanted[place],
                    place.name,
                    said(
                        "its %(what)s %(place)s belongs to %(name)s already", what=what, place=key[-1], name=owner.name
                    ),
                )


class _Facts:
    """What places come to mean once the spec is applied."""

    def __init__(self, spec: Spec, inventory: Inventory) -> None:
        self._addresses = {row.name: row.address for row in inventory.servers.values()}
        self._addresses |= {one.item.name: one.item.address for one in spec.servers}
        self._paths = {row.name: (row.deploy_path, row.app.name, row.executor) for row in inventory.groups.values()}
        self._paths |= {one.item.name: (one.item.deploy_path, one.item.app, one.item.executor) for one in spec.groups}

    def socket(self, place: Place) -> tuple[str, str]:
        """Return where an instance listens."""
        return "socket", f"{self._addresses.get(place.server, place.server)}:{place.port}"

    def directory(self, place: Place) -> tuple[str, str, str]:
        """Return an instance's directory and the machine that it is on; local servers are all on one."""
        path, app, executor = self._paths[place.group]
        values = {"server": place.server, "port": str(place.port), "app": app, "group": place.group}
        machine = "" if executor == "local" else self._addresses.get(place.server, place.server)
        return "directory", machine, path.format(**values).rstrip("/")


def _unknown(path: str, value: object, what: str, known: Collection[str]) -> Problem:
    hint = did_you_mean(value, known) or said("; there is none")
    return Problem(
        path=path,
        value=value,
        message=said(
            "%(path)s is %(value)s, and there is no such %(what)s%(hint)s",
            path=path,
            value=repr(value),
            what=what,
            hint=hint,
        ),
    )
