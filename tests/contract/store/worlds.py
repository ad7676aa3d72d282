"""What a store is filled with: groups, servers, instances and packages, for each backend in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rollwave.domain import evolve, facts
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.model import Instance, PackageRef, Progress, Stage, Standing
from rollwave.ports.packages import SignedPackage
from rollwave.store import codec, fleets, models
from rollwave.store.django_store import DjangoStore
from rollwave.store.memory import GroupRow, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollwave.domain.model import Failure, State
    from rollwave.ports.executor import Line
    from rollwave.ports.store import Store

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A transition, as the log of any backend tells it."""

    instance_id: int
    attempt: int
    stage: Stage
    progress: Progress
    failure: Failure | None
    lines: tuple[Line, ...] = ()


def signed(version: str) -> SignedPackage:
    return SignedPackage(
        app="shop",
        version=version,
        sha256="0" * 64,
        size=10,
        manifest=b"{}",
        signature=b"s" * 64,
        key_id="0123456789abcdef",
        url=f"file:///packages/shop-{version}.tar.zst",
    )


class World(ABC):
    """A backend: its store, how to register what there is, and how to read a log back."""

    store: Store

    def __init__(self) -> None:
        self.begun: dict[int, tuple[Instance, ...]] = {}
        """By deployment: the fleet as it was when it was planned."""

    @abstractmethod
    def add_group(self, name: str, *, balancer: str = "lb", **config: Any) -> None: ...

    @abstractmethod
    def add_instance(self, group: str, server: str, *, port: int = 80, **flags: Any) -> int:
        """Register an instance, in service unless *flags* say otherwise; return its id."""

    @abstractmethod
    def remove_instance(self, instance_id: int) -> None:
        """Take an instance out of its group, as a spec does."""

    def _forget(self, instance_id: int) -> None:
        """Its line is gone from the tables of old deployments, whose logs still tell of it: they differ, rightly."""
        self.begun = {one: fleet for one, fleet in self.begun.items() if instance_id not in {its.id for its in fleet}}

    @abstractmethod
    def prefer(self, group: str, instance_id: int) -> None:
        """Make an instance the canary that its group prefers."""

    @abstractmethod
    def add_package(self, version: str) -> PackageRef: ...

    @abstractmethod
    def set_offline(self, server: str, *, offline: bool) -> Sequence[int]: ...

    @abstractmethod
    def log(self, deployment_id: int) -> list[facts.Fact | Seen]: ...

    def check_logs(self) -> None:
        """The state of every deployment is the fold of its log, and nothing else (I21)."""
        newest: dict[str, int] = {}
        for deployment_id, fleet in self.begun.items():
            loaded = self.store.load(deployment_id).state
            folded = fold(deployment_id, self.log(deployment_id), fleet)
            assert loaded.deployment == folded.deployment
            assert list(loaded.targets.items()) == list(folded.targets.items())
            newest[loaded.deployment.group] = deployment_id
        # Instances go on changing with every later deployment, so only the newest tells what they are now.
        for deployment_id in newest.values():
            loaded = self.store.load(deployment_id).state
            folded = fold(deployment_id, self.log(deployment_id), self.begun[deployment_id])
            for instance_id, instance in folded.fleet.items():
                assert _proven(loaded.fleet[instance_id]) == _proven(instance)


def _proven(instance: Instance) -> tuple[object, ...]:
    """What only deployments change."""
    return (instance.failed, instance.new, instance.version)


def fold(deployment_id: int, log: Sequence[facts.Fact | Seen], fleet: Sequence[Instance]) -> State:
    """Return the state that a log tells."""
    begun, *rest = log
    assert isinstance(begun, facts.Planned)
    state = evolve.planned(deployment_id, begun, fleet={one.id: one for one in fleet})
    for entry in rest:
        state = _see(entry, state) if isinstance(entry, Seen) else evolve.evolve(entry, state)
    return state


def _see(seen: Seen, state: State) -> State:
    target = state.targets[seen.instance_id]
    if target.standing is not Standing.IN_FLIGHT or target.attempt != seen.attempt:
        return state
    is_failure = seen.progress is Progress.FAILURE and seen.stage is not Stage.PROVE
    failure = target.failure or (seen.failure if is_failure else None)
    target = replace(target, stage=seen.stage, progress=seen.progress, failure=failure)
    return state.having(targets={**state.targets, seen.instance_id: target})


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.store = self._store = MemoryStore()
        self._groups: dict[str, GroupRow] = {}
        self._last_id = 0

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def add_group(self, name: str, *, balancer: str = "lb", **config: Any) -> None:
        row = GroupRow(name=name, app="shop", balancer=balancer, config=DeploymentConfig(**config))
        self._groups[name] = row
        self._store.add_group(row)

    def add_instance(self, group: str, server: str, *, port: int = 80, **flags: Any) -> int:
        known = {"site": "A", "version": "1.0", **flags}
        instance = Instance(id=self._next_id(), name=f"{group}/{server}:{port}", server=server, **known)
        self._store.add_instance(instance, group=group, port=port)
        return instance.id

    def remove_instance(self, instance_id: int) -> None:
        self._store.remove_instance(instance_id)
        self._forget(instance_id)

    def prefer(self, group: str, instance_id: int) -> None:
        self._groups[group].canaries = (instance_id,)

    def add_package(self, version: str) -> PackageRef:
        ref = PackageRef(id=self._next_id(), version=version)
        self._store.add_package(ref.id, signed(version))
        return ref

    def set_offline(self, server: str, *, offline: bool) -> Sequence[int]:
        return self._store.set_offline(server, offline=offline)

    def log(self, deployment_id: int) -> list[facts.Fact | Seen]:
        return [
            entry
            if isinstance(entry, tuple(facts.FACTS.values()))
            else Seen(
                instance_id=entry.instance_id,
                attempt=entry.attempt,
                stage=entry.stage,
                progress=entry.progress,
                failure=entry.failure,
                lines=entry.lines or (),
            )
            for entry in self._store.log_of(deployment_id)
        ]


class DjangoWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.store = self._store = DjangoStore()

    def _app(self) -> models.App:
        return models.App.objects.get_or_create(name="shop")[0]

    def add_group(self, name: str, *, balancer: str = "lb", **config: Any) -> None:
        models.Group.objects.create(
            app=self._app(),
            name=name,
            deploy_path="/srv/{group}/{port}",
            start=["start", "{port}"],
            stop=["stop"],
            balancer=balancer,
            pool=name if balancer else "",
            config=config,
        )

    def add_instance(self, group: str, server: str, *, port: int = 80, **flags: Any) -> int:
        known = {"site": "A", "version": "1.0", "new": False, **flags}
        row, _ = models.Server.objects.get_or_create(name=server, address=server, site=known.pop("site"))
        row.offline = known.pop("offline", row.offline)
        row.save()
        instance = models.Instance.objects.create(
            group=models.Group.objects.get(name=group), server=row, port=port, **known
        )
        fleets.touch_servers([row.id])
        return instance.id

    def remove_instance(self, instance_id: int) -> None:
        row = models.Instance.objects.get(id=instance_id)
        fleets.touch([row.group_id])
        row.delete()
        self._forget(instance_id)

    def prefer(self, group: str, instance_id: int) -> None:
        server = models.Instance.objects.get(id=instance_id).server.name
        models.Group.objects.filter(name=group).update(canaries=[server])

    def add_package(self, version: str) -> PackageRef:
        package = signed(version)
        row = models.Package.objects.create(
            app=self._app(),
            version=version,
            sha256=package.sha256,
            size=package.size,
            manifest=package.manifest,
            signature=package.signature,
            key_id=package.key_id,
            url=package.url,
            pushed_by="ann",
            pushed_at=NOON,
        )
        return PackageRef(id=row.id, version=version)

    def set_offline(self, server: str, *, offline: bool) -> Sequence[int]:
        return self._store.set_offline(server, offline=offline, actor="ann", reason="", at=NOON)

    def log(self, deployment_id: int) -> list[facts.Fact | Seen]:
        rows = list(models.Event.objects.filter(deployment_id=deployment_id).order_by("seq"))
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        return [self._entry(row) for row in rows]

    @staticmethod
    def _entry(row: models.Event) -> facts.Fact | Seen:
        told = codec.event(row.kind, row.data)
        if not isinstance(told, codec.StageChanged):
            return told
        assert row.instance_id is not None
        return Seen(
            instance_id=row.instance_id,
            attempt=told.attempt,
            stage=told.stage,
            progress=told.progress,
            failure=told.failure,
            lines=told.lines or (),
        )
