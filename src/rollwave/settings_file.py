"""The settings file ``rollwave.toml`` of a data directory: what differs from one installation to the next."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from pathlib import Path


SETTINGS_NAME: Final = "rollwave.toml"

MIN_LEASE_S: Final = 4
"""The shortest lease, in seconds: it has to outlive a call to a balancer, which takes up to three."""


class SettingsInvalidError(RollwaveError):
    """The settings file cannot be used; the server does not start."""

    code = "settings.invalid"

    def __init__(self, *, path: Path, key: str, reason: str) -> None:
        where = f"{path}: {key}" if key else str(path)
        super().__init__(f"{where}: {reason}", path=str(path), key=key, reason=reason)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are mistakes."""


class CaddySettings(_Section, frozen=True, tag_field="kind", tag="caddy"):
    """
    Caddy.

    Attributes:
        admin: Address of its admin API, for example ``http://127.0.0.1:2019``.
        membership: How members come and go. ``health_page``: Caddy watches a page that answers "no" while the drain
            file is there; loses no request. ``admin_api``: the configuration is rewritten; see ``docs/balancers.md``
            for what that costs.
        settle_s: For ``health_page``: after how long Caddy is sure to have noticed, in seconds.
    """

    admin: str
    membership: Literal["health_page", "admin_api"] = "health_page"
    settle_s: float = 1.5


class HaproxySettings(_Section, frozen=True, tag_field="kind", tag="haproxy"):
    """
    HAProxy, through its runtime API.

    Attributes:
        socket: Path of the admin socket, or ``host:port``; where several HAProxys serve the same pools, one of each.
    """

    socket: str | tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError where there is none."""
        if not self.sockets or not all(self.sockets):
            raise ValueError("socket must name the runtime API of at least one HAProxy")

    @property
    def sockets(self) -> tuple[str, ...]:
        """All of them."""
        return (self.socket,) if isinstance(self.socket, str) else self.socket


class DrainFileSettings(_Section, frozen=True, tag_field="kind", tag="drain_file"):
    """
    Any balancer that watches a health page, which answers "no" while the drain file is there.

    Attributes:
        settle_s: After how long the balancer is sure to have noticed, in seconds.
    """

    settle_s: float


class NginxSettings(_Section, frozen=True, tag_field="kind", tag="nginx"):
    """
    nginx on the machine of the engine, through the files of its upstreams and a reload; see ``docs/balancers.md``.

    Attributes:
        folder: Where those files are, ``<pool>.conf`` each; nginx includes them, and Rollwave may write them.
        status: ``host:port`` on the loopback interface where nginx is to name what it has loaded.
        pid_file: Where nginx writes the number of its master process.
        test: The command that tells whether nginx could load its files.
        reload: The command that makes nginx load them.
    """

    folder: str = "/etc/nginx/rollwave"
    status: str = "127.0.0.1:8099"
    pid_file: str = "/run/nginx.pid"
    test: tuple[str, ...] = ("sudo", "-n", "/usr/sbin/nginx", "-t")
    reload: tuple[str, ...] = ("sudo", "-n", "/usr/sbin/nginx", "-s", "reload")

    def __post_init__(self) -> None:
        """Raise ValueError for what is no address, and for commands of no words."""
        if not re.fullmatch(r"(127(\.[0-9]+){3}|localhost|\[::1\]):[0-9]+", self.status):
            raise ValueError(f"status is expected as 127.0.0.1:PORT, and is {self.status!r}")
        if not (self.test and self.reload):
            raise ValueError("test and reload are expected as lists of words")


class HttpSettings(_Section, frozen=True, tag_field="kind", tag="http"):
    """
    A balancer behind an HTTP endpoint of the user's own; ``docs/balancers.md`` describes what that has to answer.

    Attributes:
        url: The endpoint.
        secret_file: Path of the file with the secret that signs the calls: ``whsec_`` and base64.
    """

    url: str
    secret_file: str

    def __post_init__(self) -> None:
        """Raise ValueError for a URL of something else."""
        if not re.match(r"https?://[^/]", self.url):
            raise ValueError(f"url is expected as https://HOST/PATH, and is {self.url!r}")


class Elbv2Settings(_Section, frozen=True, tag_field="kind", tag="elbv2"):
    """
    AWS load balancers, by their target groups; needs ``rollwave[aws]``. Credentials come from where AWS's clients look.

    Attributes:
        region: AWS region; None: that of the environment.
    """

    region: str | None = None


BalancerSettings = CaddySettings | HaproxySettings | DrainFileSettings | NginxSettings | HttpSettings | Elbv2Settings
"""How to reach one balancer; ``kind`` tells which."""


class SshSettings(_Section, frozen=True, tag_field="kind", tag="ssh"):
    """
    Servers that are reached through their sshd; see ``docs/ssh.md``.

    Attributes:
        user: Account on the servers; None: the name of the account that Rollwave runs as.
        port: TCP port of their sshd.
        identity: Path of the private key; None: the SSH agent, and the usual files in ``~/.ssh``.
        known_hosts: Path of the file with the servers' host keys; no other key is accepted.
        jump: What to go through, ``[USER@]HOST[:PORT]``, several with commas between, the first of them first.
        python: Python 3.8 or newer on the servers.
        sudo: Whether the driver runs as root; or the command that makes it run as somebody else, such as
            ``["sudo", "-n", "-u", "shop"]``.
        parallel: Most servers that are spoken to at once.
        connect_timeout_s: After how long a server that does not answer is unreachable, in seconds.
    """

    user: str | None = None
    port: int = 22
    identity: str | None = None
    known_hosts: str = "~/.ssh/known_hosts"
    jump: str | None = None
    python: str = "python3"
    sudo: bool | tuple[str, ...] = False
    parallel: int = 50
    connect_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        """Raise ValueError for what no server can have."""
        if not 1 <= self.port <= 65535:
            raise ValueError("port is expected from 1 to 65535")
        if self.parallel < 1:
            raise ValueError("expected at least 1 for parallel")
        if not 0 < self.connect_timeout_s <= 60:
            raise ValueError("connect_timeout_s is expected above 0 and at most 60")


class SaltSettings(_Section, frozen=True, tag_field="kind", tag="salt"):
    """
    Servers that are minions of a Salt master, reached through its salt-api; see ``docs/salt.md``.

    Attributes:
        url: Where salt-api (rest_cherrypy) listens.
        user: Who we are there.
        password: Of the user; None: it is in the environment.
        password_variable: The environment variable that wins over ``password``.
        eauth: Salt's module that knows the user.
        packages_url: Where servers fetch packages: a web server of ``packages/blobs/sha256`` (data directory); None:
            they read that from a disk which they share with us.
        minion_id: The id of a server's minion; ``{server}`` stands for the server's name.
        parallel: Most publishes at once: more than one makes salt-api 3006 fail, 3008 bears four.
        ca_file: Path of the certificates that salt-api's own is checked against; None: those of the system.
    """

    url: str
    user: str
    password: str | None = None
    password_variable: str = "ROLLWAVE_SALT_PASSWORD"  # noqa: S105  the name of one
    eauth: str = "pam"
    packages_url: str | None = None
    minion_id: str = "{server}"
    parallel: int = 1
    ca_file: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot work."""
        for name, url in (("url", self.url), ("packages_url", self.packages_url)):
            if url is not None and not re.match(r"https?://[^/]", url):
                raise ValueError(f"{name} is expected as https://HOST:PORT, and is {url!r}")
        if not re.fullmatch(r"[^{}]*\{server\}[^{}]*", self.minion_id):
            raise ValueError(f"minion_id is expected to contain {{server}} once, and is {self.minion_id!r}")
        if self.parallel < 1:
            raise ValueError("expected at least 1 for parallel")


ExecutorSettings = SshSettings | SaltSettings
"""How to reach servers; ``kind`` tells which. Kinds are joined by ``|``; ``local`` needs no table."""


class Limits(_Section, frozen=True):
    """
    What is refused.

    Attributes:
        package_bytes: Largest package, in bytes of its archive.
    """

    package_bytes: int = 4 * 1024**3


class EngineSettings(_Section, frozen=True):
    """
    How the engine works.

    Attributes:
        lease_s: After how long without a sign of life a worker is replaced, in seconds; at least `MIN_LEASE_S`.
        parallel: Most host commands at once on this machine; None: two per processor.
    """

    lease_s: float = 10.0
    parallel: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a lease that is over before its holder can do anything."""
        if self.lease_s < MIN_LEASE_S:
            raise ValueError(f"expected at least {MIN_LEASE_S} for lease_s")


class DatabaseSettings(_Section, frozen=True):
    """
    Where the truth is kept.

    Attributes:
        url: ``postgresql://USER:PASSWORD@HOST:PORT/NAME``, with the parameters of libpq; None: a SQLite file in the
            data directory, which one process at a time can use.
    """

    url: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a URL of something else."""
        if self.url is not None and not self.url.startswith(("postgresql://", "postgres://")):
            raise ValueError("expected postgresql://USER:PASSWORD@HOST:PORT/NAME")


class BrokerSettings(_Section, frozen=True):
    """
    How workers hear of slices.

    Attributes:
        url: ``amqp://USER:PASSWORD@HOST:PORT/VHOST`` (RabbitMQ) or ``redis://HOST:PORT/NUMBER``; None: in the process
            that serves.
    """

    url: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a URL of something else."""
        if self.url is not None and not self.url.startswith(("amqp://", "amqps://", "redis://", "rediss://")):
            raise ValueError("expected amqp://USER:PASSWORD@HOST:PORT/VHOST or redis://HOST:PORT/NUMBER")


class MetricsSettings(_Section, frozen=True):
    """
    Where metrics and probes of a process can be read without a token; those that serve the API show them there, too.

    Attributes:
        host: Address to listen on.
        port: Port, one for each process of a machine; 0 for any free one; None: nowhere.
    """

    host: str = "127.0.0.1"
    port: int | None = None


class TracesSettings(_Section, frozen=True):
    """
    Where traces are sent; needs ``rollwave[otel]``.

    Attributes:
        endpoint: Of a collector that speaks OTLP over HTTP, for example ``http://127.0.0.1:4318/v1/traces``; None:
            nowhere.
        share: How many slices and decisions are traced, from 0 to 1.
    """

    endpoint: str | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for more than all of them."""
        if not 0 <= self.share <= 1:
            raise ValueError("share is expected from 0 to 1")


class WebSettings(_Section, frozen=True):
    """
    How people reach the portal.

    Attributes:
        url: Its address for people, such as ``https://rollwave.example``; None: whatever they type. With https, cookies
            are sent over TLS alone and browsers are told to use nothing else.
        hosts: Further names under which it may be asked for, beside that of ``url`` and this machine's own.
        trusted_proxies: Addresses of proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.
        session_hours: After how long somebody has to sign in again, whatever they did meanwhile.
        session_idle_minutes: After how long, where nothing was heard of them meanwhile.
    """

    url: str | None = None
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    session_hours: int = 12
    session_idle_minutes: int = 60

    def __post_init__(self) -> None:
        """Raise ValueError for what is no origin, and for sessions that never or at once end."""
        if self.url is not None and not re.fullmatch(r"https?://[^/?#]+", self.url):
            raise ValueError(f"url is expected as https://HOST or https://HOST:PORT, and is {self.url!r}")
        if not 1 <= self.session_hours <= 720:
            raise ValueError("session_hours is expected from 1 to 720")
        if not 5 <= self.session_idle_minutes <= 43_200:
            raise ValueError("session_idle_minutes is expected from 5 to 43200")

    @property
    def is_tls(self) -> bool:
        """Whether people reach it over TLS."""
        return self.url is not None and self.url.startswith("https:")


class SsoSettings(_Section, frozen=True):
    """
    Single sign-on by OpenID Connect; see ``docs/accounts.md``.

    Attributes:
        issuer: Of the provider; ``/.well-known/openid-configuration`` below it has to answer. None: no single sign-on.
        client_id: Who we are there.
        client_secret_file: Path of the file with our secret; None: it is in ``ROLLWAVE_SSO_CLIENT_SECRET``, or the
            provider asks for none.
        scopes: What we ask to be told.
        username_claim: The claim that becomes the name of the user.
        groups_claim: The claim that lists the groups of the user.
        roles: By the name of a group, the roles that its members have: ``"operator"``, ``"operator:shop"`` for an app,
            ``"operator:shop/production"`` for an app in an environment; ``*`` is all of them.
        label: What the button says.
    """

    issuer: str | None = None
    client_id: str = ""
    client_secret_file: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    username_claim: str = "preferred_username"
    groups_claim: str = "groups"
    roles: dict[str, tuple[str, ...]] = {}
    label: str = "Single sign-on"

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot work."""
        if self.issuer is not None and not re.match(r"https://[^/]|http://(localhost|127\.0\.0\.1)[:/]", self.issuer):
            raise ValueError(f"issuer is expected as https://HOST/PATH, and is {self.issuer!r}")
        if self.issuer is not None and not self.client_id:
            raise ValueError("client_id is missing")
        for group, roles in self.roles.items():
            for role in roles:
                if not re.fullmatch(r"(viewer|operator|approver|admin)(:[^:/]+(/[^:/]+)?)?", role):
                    raise ValueError(
                        f"roles.{group} is expected as ROLE, ROLE:APP or ROLE:APP/ENVIRONMENT, not {role!r}"
                    )


class LogSettings(_Section, frozen=True):
    """
    What is written to stderr.

    Attributes:
        format: Lines for people, or JSON for machines.
        level: The least severe that is written.
    """

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class NotifySettings(_Section, frozen=True):
    """
    Notifications; see ``docs/notifications.md``.

    Attributes:
        allow: Networks and hosts inside, to which notifications may be sent: by default only what is public.
        smtp_host: The server that sends mail; None: there is none.
        smtp_port: Its port.
        smtp_security: ``starttls``, ``tls`` from the first byte, or ``none``.
        smtp_user: Who we are there; None: nobody asks.
        smtp_password: Of the user; the environment variable ``ROLLWAVE_SMTP_PASSWORD`` wins.
        smtp_from: The address that mail comes from.
    """

    allow: tuple[str, ...] = ()
    smtp_host: str | None = None
    smtp_port: int = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str | None = None
    smtp_password: str | None = None
    smtp_from: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a mail server without a sender, and for what is no port."""
        if self.smtp_host is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", self.smtp_from or ""):
            raise ValueError("smtp_from is expected as an address such as rollwave@example.com, beside smtp_host")
        if not 1 <= self.smtp_port <= 65535:
            raise ValueError("smtp_port is expected from 1 to 65535")


class SettingsFile(msgspec.Struct, frozen=True, kw_only=True):
    """
    All settings; the defaults are those of an installation without a file.

    Attributes:
        limits, engine, database, broker, log, metrics, traces, web, sso, notify: Tables of the same name.
        balancers: By the name that groups use, from ``[balancers.NAME]``.
        executors: By the name that groups use, from ``[executors.NAME]``; ``local`` is there without a table.
    """

    limits: Limits = Limits()
    engine: EngineSettings = EngineSettings()
    database: DatabaseSettings = DatabaseSettings()
    broker: BrokerSettings = BrokerSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TracesSettings = TracesSettings()
    web: WebSettings = WebSettings()
    sso: SsoSettings = SsoSettings()
    notify: NotifySettings = NotifySettings()
    balancers: dict[str, BalancerSettings] = {}
    executors: dict[str, ExecutorSettings] = {}


_TABLES: Final[dict[str, Any]] = {
    "limits": Limits,
    "engine": EngineSettings,
    "database": DatabaseSettings,
    "broker": BrokerSettings,
    "log": LogSettings,
    "metrics": MetricsSettings,
    "traces": TracesSettings,
    "web": WebSettings,
    "sso": SsoSettings,
    "notify": NotifySettings,
}

_NAMED: Final[dict[str, Any]] = {"balancers": BalancerSettings, "executors": ExecutorSettings}
"""Tables of tables: each of these has a name that groups use."""

_VARIABLES: Final = {
    "ROLLWAVE_DATABASE_URL": ("database", "url"),
    "ROLLWAVE_BROKER_URL": ("broker", "url"),
    "ROLLWAVE_METRICS_PORT": ("metrics", "port"),
    "ROLLWAVE_WEB_URL": ("web", "url"),
}
"""
Environment variables that win over a key of a table: passwords need not be in a file, and processes of one machine
that share it have ports of their own.
"""


def read_settings(path: Path) -> SettingsFile:
    """
    Return the settings in *path* and the environment; the defaults where there is no such file.

    Raises:
        SettingsInvalidError: If it cannot be read, or says something that nobody understands; it names the key.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        document = {}
    except (OSError, ValueError) as error:
        raise SettingsInvalidError(path=path, key="", reason=str(error)) from error
    known = [*_TABLES, *_NAMED]
    for name in document:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise SettingsInvalidError(path=path, key=name, reason=f"no such table; {hint}")
    for variable, (name, key) in _VARIABLES.items():
        if text := os.environ.get(variable):
            value = int(text) if text.isdecimal() else text
            document[name] = {**_table(path, name, document.get(name, {})), key: value}
    tables = {name: _read(path, name, document[name], _TABLES[name]) for name in _TABLES if name in document}
    named: dict[str, Any] = {
        kind: {
            name: _read(path, f"{kind}.{name}", table, content)
            for name, table in _table(path, kind, document.get(kind, {})).items()
        }
        for kind, content in _NAMED.items()
    }
    if "local" in named["executors"]:
        reason = "local is this machine, and needs no table; give this one another name"
        raise SettingsInvalidError(path=path, key="executors.local", reason=reason)
    return SettingsFile(**tables, **named)


def _read(path: Path, key: str, content: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(_table(path, key, content), kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise SettingsInvalidError(path=path, key=key + place.rstrip("`"), reason=reason) from error


def _table(path: Path, key: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise SettingsInvalidError(path=path, key=key, reason="expected a table")
    return content
