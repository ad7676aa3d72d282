"""The wiring: the only module that knows concrete classes. Import it once Django is set up."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.db import connection

from rollwave.balancers.caddy import CaddyBalancer
from rollwave.balancers.drain_file import DrainFileBalancer
from rollwave.balancers.haproxy import HaproxyBalancer
from rollwave.balancers.http import HttpBalancer, read_secret
from rollwave.balancers.nginx import NginxBalancer
from rollwave.balancers.several import together
from rollwave.broadcasting import BroadcastThread
from rollwave.engine.broadcaster import Broadcaster
from rollwave.engine.effects import Effects
from rollwave.engine.service import Engine
from rollwave.executors.local import LocalExecutor
from rollwave.executors.salt import SaltExecutor
from rollwave.executors.ssh import SshExecutor
from rollwave.executors.ssh_connections import SshAccess
from rollwave.host import driver_source, porter_source
from rollwave.notify.channels import Channels
from rollwave.notify.guard import Guard
from rollwave.notify.mail import SmtpServer
from rollwave.packages.file_store import FilePackages
from rollwave.packages.signing import SigningKey, TrustedKeys
from rollwave.ports.balancer import BalancerPoolError
from rollwave.ports.executor import Host, KeepsDrainFiles
from rollwave.queue.embedded import EmbeddedQueue
from rollwave.settings_file import (
    SETTINGS_NAME,
    CaddySettings,
    DrainFileSettings,
    Elbv2Settings,
    HaproxySettings,
    HttpSettings,
    NginxSettings,
    SaltSettings,
    SettingsFile,
    SettingsInvalidError,
    SshSettings,
    read_settings,
)
from rollwave.store import census, jobs
from rollwave.store.django_store import DjangoStore
from rollwave.store.models import Group
from rollwave.store.outbox import DjangoOutbox
from rollwave.system import StoreThreads, SystemClock
from rollwave.telemetry.prometheus import Prometheus
from rollwave.telemetry.several import Several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celery import Celery

    from rollwave.engine.offload import Offload
    from rollwave.engine.releases import Releases
    from rollwave.ports.balancer import Balancer, Member
    from rollwave.ports.clock import Clock
    from rollwave.ports.executor import Executor
    from rollwave.ports.queue import Queue
    from rollwave.ports.store import SliceKey
    from rollwave.ports.telemetry import Telemetry
    from rollwave.settings_file import BalancerSettings, ExecutorSettings

SIGNING_KEY_NAME: Final = "signing.key"
"""Private half of the first key pair, in ``keys/``; every ``*.pub`` and ``*.pem`` beside it is trusted."""

MAX_HOSTS_AT_ONCE: Final = 50
"""How many hosts are asked at a time for their drain files."""


@dataclass(kw_only=True, slots=True)
class Rollwave:
    """
    One running Rollwave.

    Attributes:
        settings: From its settings file.
        clock: Time.
        store: The truth.
        packages: Where packages live.
        executors: By the name that groups use.
        balancers: By the name that groups use.
        engine: Makes releases go on.
        offload: Runs the store's blocking calls.
        channels: Ways to those who are told what happens.
        broadcast: Tells them, beside the engine.
        owner: Name of this process among all that work on the store.
        metrics: What this process has counted.
        runs_engine: Whether releases are to go on here: a process that only serves the API is ready without.
        broker: Says how the broker is, without waiting; None where there is none.
        stopping: Set once the process is told to stop.
    """

    settings: SettingsFile
    clock: Clock
    store: ObservedStore
    packages: FilePackages
    executors: Mapping[str, Executor]
    balancers: Mapping[str, Balancer]
    engine: Engine
    offload: StoreThreads
    channels: Channels
    broadcast: BroadcastThread
    owner: str
    metrics: Prometheus
    runs_engine: bool = True
    broker: Callable[[], str] | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _is_running: bool = False

    @property
    def releases(self) -> Releases:
        """What can be done to deployments."""
        return self.engine.releases

    @property
    def is_engine_running(self) -> bool:
        """Whether releases go on."""
        return self._is_running

    async def run_engine(self) -> None:
        """Run the engine until cancelled."""
        if self.broker is None:
            # We are alone: whatever a process before us had claimed, it cannot be at work any more.
            await self.offload(self.store.release)
        self._is_running = True
        self.broadcast.start()
        try:
            await self.engine.run()
        finally:
            self._is_running = False
            await asyncio.to_thread(self.broadcast.stop)

    async def give_back(self) -> None:
        """End the slices that run here, and leave them to others, who need not wait for their leases to run out."""
        await self.engine.queue.close()
        for executor in self.executors.values():
            if isinstance(executor, SaltExecutor | SshExecutor):
                await executor.close()
        await self.offload(self.store.release, owner=self.owner)


class ObservedStore(DjangoStore):
    """
    The store, which tells after every commit.

    Attributes:
        listeners: Called from whatever thread committed; must not block.
    """

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []

    def create(self, *arguments: Any, **named: Any) -> int:
        """Create a deployment, then tell."""
        created = super().create(*arguments, **named)
        self._tell()
        return created

    def commit(self, *arguments: Any, **named: Any) -> Any:
        """Commit, then tell."""
        after = super().commit(*arguments, **named)
        self._tell()
        return after

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()


def build(
    data_dir: Path,
    *,
    executors: Mapping[str, Executor] | None = None,
    balancers: Mapping[str, Balancer] | None = None,
    celery: Celery | None = None,
    runs_engine: bool = True,
    room: int = 0,
) -> Rollwave:
    """
    Wire a Rollwave over *data_dir*; the signing key pair is made where there is none.

    Args:
        data_dir: Holds ``rollwave.toml``, ``keys/``, ``packages/`` and the database.
        executors: Instead of the real ones, for tests.
        balancers: Instead of those in the settings file, for tests.
        celery: Carries slices to workers; None: they run in this process.
        runs_engine: Whether releases are to go on here.
        room: How many slices may run here that *celery* brings to nobody.

    Raises:
        SettingsInvalidError: If the settings file cannot be used, or a group needs what it does not define.
        KeyUnreadableError: If a file in ``keys/`` is not a key.
    """
    settings_path = data_dir / SETTINGS_NAME
    settings = read_settings(settings_path)
    clock = SystemClock()
    threads = StoreThreads(before=_mend_connection, after=_close_connection)
    trusted = _trusted_keys(data_dir / "keys")
    if executors is None:
        executors = _executors(settings_path, settings, trusted=trusted, clock=clock)
    if balancers is None:
        drain_files = DrainFiles(executors, offload=threads)
        balancers = {
            name: _balancer(one, drain_files=drain_files, clock=clock) for name, one in settings.balancers.items()
        }
    _check_groups(settings_path, executors=executors, balancers=balancers)
    store = ObservedStore()
    metrics = Prometheus(clock=clock, census=lambda: census.take(now=clock.now()))
    owner = _name_of_process()
    telemetry = _listener(settings_path, settings, metrics=metrics, owner=owner, clock=clock)

    def make_queue(run: Callable[[SliceKey], Any]) -> Queue:
        own = EmbeddedQueue(run)
        if celery is None:
            return own
        from rollwave.queue.celery import CeleryQueue  # noqa: PLC0415  # slow to import, and one process does without

        return CeleryQueue(celery, own=own, room=room, clock=clock, telemetry=telemetry)

    engine = Engine(
        store,
        effects=Effects(executors=executors, balancers=balancers, clock=clock),
        balancers=balancers,
        make_queue=make_queue,
        clock=clock,
        offload=threads,
        owner=owner,
        lease_s=settings.engine.lease_s,
        telemetry=telemetry,
    )
    channels = _channels(settings_path, settings, clock=clock)
    outbox = DjangoOutbox()
    return Rollwave(
        settings=settings,
        clock=clock,
        store=store,
        packages=FilePackages(data_dir / "packages", trusted=trusted),
        executors=executors,
        balancers=balancers,
        engine=engine,
        offload=threads,
        channels=channels,
        broadcast=BroadcastThread(
            lambda offload: Broadcaster(
                outbox, open_channel=channels.open, clock=clock, offload=offload, owner=owner, telemetry=telemetry
            ),
            writes=threads,
            reads=StoreThreads(before=_mend_connection, after=_close_connection),
        ),
        owner=owner,
        metrics=metrics,
        runs_engine=runs_engine,
        broker=None if celery is None else _broker_state(celery, clock),
    )


def _channels(path: Path, settings: SettingsFile, *, clock: Clock) -> Channels:
    notify = settings.notify
    try:
        guard = Guard(notify.allow)
    except ValueError as error:
        raise SettingsInvalidError(path=path, key="notify.allow", reason=str(error)) from error
    smtp = None
    if notify.smtp_host is not None:
        smtp = SmtpServer(
            host=notify.smtp_host,
            port=notify.smtp_port,
            security=notify.smtp_security,
            user=notify.smtp_user or "",
            password=os.environ.get("ROLLWAVE_SMTP_PASSWORD") or notify.smtp_password or "",
            sender=notify.smtp_from or "",
        )
    return Channels(guard=guard, clock=clock, base_url=settings.web.url or "", smtp=smtp)


def _executors(path: Path, settings: SettingsFile, *, trusted: TrustedKeys, clock: Clock) -> dict[str, Executor]:
    """Return the executors by name: ``local``, and what the settings name beside it."""
    driver, pems = driver_source(), {key_id: key.pem for key_id, key in trusted.by_id.items()}
    executors: dict[str, Executor] = {
        "local": LocalExecutor(driver=driver, trusted_keys=pems, parallel=settings.engine.parallel)
    }
    for name, one in settings.executors.items():
        try:
            executors[name] = _executor(one, driver=driver, trusted_keys=pems, clock=clock)
        except ValueError as error:
            raise SettingsInvalidError(path=path, key=f"executors.{name}", reason=str(error)) from error
    return executors


def _executor(
    settings: ExecutorSettings, *, driver: bytes, trusted_keys: Mapping[str, bytes], clock: Clock
) -> Executor:
    match settings:
        case SaltSettings():
            password = os.environ.get(settings.password_variable) or settings.password
            if not password:
                raise ValueError(f"password is missing: name it here, or in {settings.password_variable}")
            return SaltExecutor(
                settings.url,
                user=settings.user,
                password=password,
                eauth=settings.eauth,
                driver=driver,
                trusted_keys=trusted_keys,
                clock=clock,
                packages_url=settings.packages_url,
                minion_id=settings.minion_id,
                parallel=settings.parallel,
                ca_file=settings.ca_file,
            )
        case SshSettings():
            access = SshAccess(
                user=settings.user,
                port=settings.port,
                identity=None if settings.identity is None else Path(settings.identity).expanduser(),
                known_hosts=Path(settings.known_hosts).expanduser(),
                jump=() if settings.jump is None else tuple(settings.jump.split(",")),
                connect_timeout_s=settings.connect_timeout_s,
            )
            return SshExecutor(
                driver=driver,
                porter=porter_source(),
                trusted_keys=trusted_keys,
                access=access,
                python=settings.python,
                sudo=("sudo", "-n") if settings.sudo is True else settings.sudo or (),
                parallel=settings.parallel,
            )


def _broker_state(celery: Celery, clock: Clock) -> Callable[[], str]:
    from rollwave.queue.celery import BrokerState  # noqa: PLC0415  # slow to import, and one process does without

    return BrokerState(celery, clock=clock).read


def _close_connection() -> None:
    """Close the thread's connection."""
    connection.close()


def _mend_connection() -> None:
    """Drop the thread's connection where it broke, so that the next statement opens another."""
    if connection.errors_occurred:
        connection.close_if_unusable_or_obsolete()


def _name_of_process() -> str:
    """Return a name that no other process has: two containers may share a host name, and in each we are process 1."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def _listener(path: Path, settings: SettingsFile, *, metrics: Prometheus, owner: str, clock: Clock) -> Telemetry:
    """Return who hears what the engine does: the metrics, and a collector of traces where one is named."""
    traces = settings.traces
    if traces.endpoint is None:
        return metrics
    try:
        from rollwave.telemetry.traces import traces_to  # noqa: PLC0415  # an extra that need not be installed
    except ImportError as error:
        reason = f"traces need more than was installed: install rollwave[otel] ({error})"
        raise SettingsInvalidError(path=path, key="traces.endpoint", reason=reason) from error
    return Several(metrics, traces_to(traces.endpoint, share=traces.share, owner=owner, clock=clock))


class DrainFiles:
    """
    Drain files of members, on the hosts of executors that can reach them.

    Args:
        executors: By name.
        offload: Runs the store's blocking calls.
    """

    def __init__(self, executors: Mapping[str, Executor], *, offload: Offload) -> None:
        self._executors = executors
        self._offload = offload
        self._hosts = asyncio.Semaphore(MAX_HOSTS_AT_ONCE)

    async def put(self, member: Member, drained: bool) -> None:  # noqa: FBT001  # the balancer calls it so
        """Create or remove the drain file of *member*."""
        ((executor, host),) = await self._locate([member])
        await executor.set_drain(host, drained=drained)

    async def find(self, members: Sequence[Member]) -> frozenset[str]:
        """Return the names of those among *members* that have their drain file."""

        async def is_drained(executor: KeepsDrainFiles, host: Host) -> bool:
            async with self._hosts:
                return await executor.is_drained(host)

        places = await self._locate(members)
        answers = await asyncio.gather(*(is_drained(executor, host) for executor, host in places))
        return frozenset(host.instance for (_, host), is_there in zip(places, answers, strict=True) if is_there)

    async def _locate(self, members: Sequence[Member]) -> list[tuple[KeepsDrainFiles, Host]]:
        groups = await self._offload.read(_groups_of, members)
        return [self._place(member, groups) for member in members]

    def _place(self, member: Member, groups: Mapping[str, Group]) -> tuple[KeepsDrainFiles, Host]:
        name, _, place = member.name.partition("/")
        server = place.rpartition(":")[0]
        if name not in groups:
            raise BalancerPoolError(f"group {name} of {member.name} is gone", member=member.name)
        executor = self._executors[groups[name].executor]
        if not isinstance(executor, KeepsDrainFiles):
            raise BalancerPoolError(
                f"executor {groups[name].executor!r} cannot place the drain file of {member.name}; "
                f"use another balancer for this group",
                member=member.name,
            )
        return executor, Host(
            instance=member.name,
            server=server,
            address=member.address,
            port=member.port,
            deploy_path=jobs.deploy_path(groups[name], server=server, port=member.port),
        )


def _groups_of(members: Sequence[Member]) -> Mapping[str, Group]:
    names = {member.name.partition("/")[0] for member in members}
    return {group.name: group for group in Group.objects.select_related("app").filter(name__in=names)}


def _balancer(  # noqa: PLR0911  # one for each kind
    settings: BalancerSettings, *, drain_files: DrainFiles, clock: Clock
) -> Balancer:
    match settings:
        case CaddySettings(admin=admin, membership="admin_api"):
            return CaddyBalancer(admin, clock=clock)
        case CaddySettings(admin=admin, settle_s=settle_s):
            # Caddy watches the health page; what it has in flight it still tells.
            return DrainFileBalancer(
                set_drain=drain_files.put,
                find_drained=drain_files.find,
                clock=clock,
                settle_s=settle_s,
                in_flight=CaddyBalancer(admin, clock=clock).in_flight,
            )
        case HaproxySettings(sockets=endpoints):
            return together([HaproxyBalancer(endpoint, clock=clock) for endpoint in endpoints])
        case NginxSettings():
            return NginxBalancer(
                Path(settings.folder),
                status=settings.status,
                pid_file=Path(settings.pid_file),
                test=settings.test,
                reload=settings.reload,
                clock=clock,
            )
        case HttpSettings(url=url, secret_file=secret_file):
            key = _balancer_secret(Path(secret_file))
            return HttpBalancer(url, key=key, clock=clock, make_id=lambda: secrets.token_hex(16))
        case Elbv2Settings(region=region):
            return _elbv2(region, clock=clock)
        case DrainFileSettings(settle_s=settle_s):
            return DrainFileBalancer(
                set_drain=drain_files.put, find_drained=drain_files.find, clock=clock, settle_s=settle_s
            )


def _elbv2(region: str | None, *, clock: Clock) -> Balancer:
    try:
        from rollwave.balancers.elbv2 import Elbv2Balancer  # noqa: PLC0415  # an extra that need not be installed
    except ImportError as error:
        reason = f"kind elbv2 needs more than was installed: install rollwave[aws] ({error})"
        raise SettingsInvalidError(path=Path(SETTINGS_NAME), key="balancers", reason=reason) from error
    return Elbv2Balancer(region=region, clock=clock)


def _balancer_secret(path: Path) -> bytes:
    try:
        return read_secret(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise SettingsInvalidError(path=path, key="", reason=f"no secret of a balancer: {error}") from error


def _trusted_keys(directory: Path) -> TrustedKeys:
    """Return the keys in *directory*; a first pair is made where there is none, so that packages can be signed here."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(directory):
        if not any(directory.iterdir()):
            SigningKey.generate().save(directory / SIGNING_KEY_NAME)
        return TrustedKeys.from_directory(directory)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep out the other processes of the set-up, which may start at the same moment."""
    number = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _check_groups(path: Path, *, executors: Mapping[str, Executor], balancers: Mapping[str, Balancer]) -> None:
    """Refuse to run without what groups need: their instances would neither be released nor kept in traffic."""
    for name, executor, balancer in Group.objects.values_list("name", "executor", "balancer"):
        if balancer and balancer not in balancers:
            raise SettingsInvalidError(
                path=path, key=f"balancers.{balancer}", reason=f"it is missing, and group {name} needs it"
            )
        if executor not in executors:
            raise SettingsInvalidError(path=path, key="", reason=f"group {name} needs executor {executor!r}")
