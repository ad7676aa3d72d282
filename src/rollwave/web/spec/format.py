"""What a spec may say. Every field, its range and its default is here; ``docs/spec.md`` shows an example."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from rollwave.domain.said import said
from rollwave.notify.config import KINDS
from rollwave.ports.notifier import Topic
from rollwave.web.fields import AppName, Flag, Input, Port, Settings, like, one_of, whole
from rollwave.web.problems import Problem, did_you_mean, problems_of
from rollwave.words.language import Language

Item = TypeVar("Item", bound=Input)

PLACEHOLDERS: Final = ("server", "port", "app", "group")
"""What a deploy path may name in braces."""

Name = Annotated[str, like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", said("letters, digits and . _ -, at most 63"))]
ServerName = Annotated[str, like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", said("letters, digits and . _ -, at most 100"))]
Address = Annotated[str, like(r"[A-Za-z0-9:._-]{1,255}", said("a host name or an IP address"))]
UrlPath = Annotated[str, like(r"/[!-~]{0,199}", said("a path that begins with /, at most 200 characters"))]
Word = Annotated[str, like(r"[^\s\0]{1,63}", said("a name without spaces, at most 63 characters"))]
PoolName = Annotated[str, like(r"[^\s\0]{1,200}", said("a name without spaces, at most 200 characters"))]
Argument = Annotated[str, like(r"(?s)[^\0]{1,1000}", said("a text, at most 1000 characters"))]
Text = Annotated[str, like(r"(?s).{0,2000}", said("a text, at most 2000 characters"))]
DeployPath = Annotated[
    str,
    like(
        rf"/(?:[^{{}}\0]|\{{(?:{'|'.join(PLACEHOLDERS)})\}}){{1,499}}",
        said(
            "an absolute path; %(names)s are filled in, no other braces",
            names=", ".join(f"{{{name}}}" for name in PLACEHOLDERS),
        ),
    ),
]


class AppSpec(Input):
    """An app."""

    name: AppName
    description: Text = ""


class ServerSpec(Input):
    """A server."""

    name: ServerName
    address: Address = "127.0.0.1"
    site: Name = "default"
    offline: Flag | None = None
    """None leaves it to the operators."""


class InstanceSpec(Input):
    """An instance of a group: a server's name, or server and port."""

    server: ServerName
    port: Port | None = None


def _named(value: Any) -> Any:
    return {"server": value} if isinstance(value, str) else value


class GroupSpec(Input):
    """A group with its instances."""

    name: Name
    app: AppName
    environment: Name = "production"
    deploy_path: DeployPath
    port: Port | None = None
    """Of instances that name none."""
    health_path: UrlPath = "/healthz"
    version_path: UrlPath | None = None
    start: Annotated[list[Argument], Field(min_length=1)]
    stop: Annotated[list[Argument], Field(min_length=1)]
    command_timeout_s: Annotated[int, whole(1, 3_600)] = 60
    drain_timeout_s: Annotated[int, whole(0, 3_600)] = 30
    keep_versions: Annotated[int, whole(2, 100)] = 5
    executor: Word = "local"
    balancer: Word | None = None
    pool: PoolName | None = None
    """None: named like the group."""
    canaries: list[ServerName] = Field(default_factory=list)
    config: Settings = Field(default_factory=Settings)
    instances: list[Annotated[InstanceSpec, BeforeValidator(_named)]] = Field(default_factory=list)


class SubscriptionSpec(Input):
    """A subscription of a team."""

    name: Name
    channel: Annotated[str, like("|".join(KINDS), said("one of %(values)s", values=", ".join(KINDS)))]
    settings: dict[str, Any] | None = None
    """None leaves them as they are."""
    language: Annotated[Language, one_of(Language)] = Language.ENGLISH
    topics: list[Annotated[Topic, one_of(Topic)]]
    groups: list[Name] = Field(default_factory=list)
    apps: list[AppName] = Field(default_factory=list)
    environments: list[Name] = Field(default_factory=list)
    enabled: Flag | None = None
    """None leaves it to whoever switches it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed(Generic[Item]):
    """An item of the spec and where it stands, for example ``groups[1]``."""

    path: str
    item: Item


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """
    What could be read of a spec.

    Attributes:
        apps, servers, groups, subscriptions: Items that are well-formed by themselves.
        mentioned: By section, the names of all items, well-formed or not: to refer to one is no mistake of its own.
    """

    apps: tuple[Placed[AppSpec], ...]
    servers: tuple[Placed[ServerSpec], ...]
    groups: tuple[Placed[GroupSpec], ...]
    subscriptions: tuple[Placed[SubscriptionSpec], ...]
    mentioned: dict[str, frozenset[str]]


_SECTIONS: Final[dict[str, type[Input]]] = {
    "apps": AppSpec,
    "servers": ServerSpec,
    "groups": GroupSpec,
    "subscriptions": SubscriptionSpec,
}


def parse(document: Any) -> tuple[Spec, list[Problem]]:
    """Return what a document says, and everything that is wrong with its form."""
    if not isinstance(document, dict):
        problem = Problem(
            path="", value=document, message=said("a spec is a mapping with %(keys)s", keys=", ".join(_SECTIONS))
        )
        return Spec(apps=(), servers=(), groups=(), subscriptions=(), mentioned={}), [problem]
    problems = [
        Problem(
            path=str(key),
            value=None,
            message=said("%(name)s is not a known key%(hint)s", name=key, hint=did_you_mean(key, _SECTIONS)),
        )
        for key in document
        if key not in _SECTIONS
    ]
    read: dict[str, Any] = {}
    mentioned = {}
    for section, kind in _SECTIONS.items():
        # A section without anything under it is null in YAML.
        items = [] if document.get(section) is None else document[section]
        if not isinstance(items, list):
            problems.append(
                Problem(path=section, value=items, message=said("%(section)s is not a list", section=section))
            )
            items = []
        read[section], found = _read(section, kind, items)
        problems += found
        mentioned[section] = frozenset(str(item["name"]) for item in items if isinstance(item, dict) and "name" in item)
    return Spec(**read, mentioned=mentioned), problems


def _read(section: str, kind: type[Item], items: list[Any]) -> tuple[tuple[Placed[Item], ...], list[Problem]]:
    placed = []
    problems = []
    for index, item in enumerate(items):
        try:
            placed.append(Placed(path=f"{section}[{index}]", item=kind.model_validate(item)))
        except ValidationError as error:
            problems += problems_of(error, kind, prefix=(section, index))
    return tuple(placed), problems
