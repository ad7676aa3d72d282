"""Lists of servers that other tools keep: an Ansible inventory, an SSH configuration, Salt's minions, CSV."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
"""What a spec takes as the name of a server."""

MAX_HOSTS: Final = 100_000
"""What ranges may make of an inventory; more is a mistake in writing."""

MAX_DEPTH: Final = 50
"""How deep groups may stand in groups; YAML can make one that contains itself."""

_NAMED: Final = 3
"""How many servers a note names."""

_ANSIBLE_WAY: Final = {
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_private_key_file": "identity",
    "ansible_ssh_private_key_file": "identity",
    "ansible_ssh_common_args": "jump",
    "ansible_ssh_extra_args": "jump",
    "ansible_python_interpreter": "python",
}
_SSH_WAY: Final = {
    "port": "port",
    "user": "user",
    "identityfile": "identity",
    "proxyjump": "jump",
    "proxycommand": "jump",
}
"""What other tools call the settings of an executor."""

_HOST_AND_PORT: Final = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])+):([0-9]+)")
"""As Ansible takes it: a range has its colon in brackets."""

_RANGE: Final = re.compile(r"\[([0-9]+|[a-zA-Z]):([0-9]+|[a-zA-Z])(?::([0-9]+))?\]")


class InventoryError(ValueError):
    """The list cannot be read; says where and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """
    One server.

    Attributes:
        name: As the list has it.
        address: Where it is reached; its name where the list says nothing.
        site: Empty where the list says nothing.
        way: How the list would reach it, by the name of the setting of an executor: a spec says nothing of that.
    """

    name: str
    address: str
    site: str = ""
    way: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(kw_only=True, slots=True)
class Inventory:
    """
    What a list says.

    Attributes:
        servers: In the order of the list, each name once.
        notes: What was left out, and why.
    """

    servers: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_inventory(text: str, *, kind: str, group: str | None = None) -> Inventory:
    """
    Return the servers in *text*.

    Args:
        text: The list.
        kind: One of `KINDS`.
        group: Of an Ansible inventory, only the hosts of this group and of its children.

    Raises:
        InventoryError: If *text* is not such a list, or has no such group.
    """
    if group is not None and kind != "ansible":
        raise InventoryError(f"groups are Ansible's; a list of kind {kind} has none")
    found = _ansible(text, group) if kind == "ansible" else KINDS[kind](text)
    result = Inventory()
    seen: dict[str, Found] = {}
    for one in found:
        if not NAME.fullmatch(one.name):
            result.notes.append(f"left out {one.name!r}: a name has letters, digits and . _ -, at most 100")
        elif one.name not in seen:
            seen[one.name] = one
            result.servers.append(one)
        elif seen[one.name] != one:
            result.notes.append(f"{one.name} is there twice; its address is {seen[one.name].address}, as it came first")
    result.notes += _ways(result.servers)
    return result


def _ways(servers: Iterable[Found]) -> Iterator[str]:
    """Say what of the way to servers has no place in a spec, and where it has one."""
    names: dict[tuple[str, str], list[str]] = {}
    for one in servers:
        for setting in one.way.items():
            if setting != ("port", "22"):
                names.setdefault(setting, []).append(one.name)
    for (key, value), those in names.items():
        more = f" and {len(those) - _NAMED} more" if len(those) > _NAMED else ""
        yield (
            f"left out: {key} {value} of {', '.join(those[:_NAMED])}{more}; it belongs to the executor that reaches "
            f"them: {key} in [executors.NAME] of rollwave.toml, one for all its servers (docs/ssh.md)"
        )


def to_spec(servers: Iterable[Found], *, site: str | None = None) -> dict[str, list[dict[str, str]]]:
    """Return the spec of *servers*; *site* is that of servers whose list says nothing about it."""
    rows = []
    for one in servers:
        where = one.site or site
        rows.append({"name": one.name, "address": one.address, **({"site": where} if where else {})})
    return {"servers": rows}


def to_yaml(spec: Mapping[str, Iterable[Mapping[str, str]]]) -> str:
    """Return a spec of servers as YAML, a line for each."""
    # JSON strings are YAML strings, whatever is in them.
    rows = (", ".join(f"{key}: {json.dumps(value)}" for key, value in one.items()) for one in spec["servers"])
    return "servers:\n" + ("".join(f"  - {{ {row} }}\n" for row in rows) or "  []\n")


def _ansible(text: str, group: str | None) -> Iterator[Found]:
    stripped = text.lstrip()
    # An INI inventory may begin with "[", as JSON does; but no JSON inventory is a list.
    is_yaml = stripped.startswith(("---", "{")) or re.match(r"(#.*\n|\s)*[\w.-]+:(\s|$)", text) is not None
    groups = _ansible_yaml(text) if is_yaml else _ansible_ini(text)
    everybody = dict.fromkeys(name for one in groups.values() for name in one.hosts)
    # Everybody is in the group "all", whether it is written down or not.
    members = {name: everybody if name == "all" else dict.fromkeys(_members(groups, name)) for name in groups}
    members.setdefault("all", everybody)
    if group not in members and group is not None:
        raise InventoryError(f"no group {group!r}; groups: {', '.join(sorted(groups)) or 'none'}")
    # What a larger group says is overruled by a smaller one in it, and that by the host.
    larger_first = sorted(groups, key=lambda name: (name != "all", -len(members[name])))
    for host in members[group or "all"]:
        variables: dict[str, Any] = {}
        for name in larger_first:
            variables |= groups[name].variables if host in members[name] else {}
        for one in groups.values():
            variables |= one.hosts.get(host, {})
        address = variables.get("ansible_host") or variables.get("ansible_ssh_host") or host
        way = {setting: str(variables[name]) for name, setting in _ANSIBLE_WAY.items() if variables.get(name)}
        yield Found(name=host, address=str(address), site=str(variables.get("rollwave_site", "")), way=way)


@dataclass(kw_only=True, slots=True)
class _Group:
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)

    def add(self, pattern: str, variables: Mapping[str, Any], where: str) -> None:
        """Add the hosts that *pattern* means, with a port perhaps."""
        if with_port := _HOST_AND_PORT.fullmatch(pattern):
            pattern, variables = with_port[1], {"ansible_port": with_port[2], **variables}
        for name in _expanded(pattern, where):
            self.hosts.setdefault(name, {}).update(variables)


def _members(groups: Mapping[str, _Group], name: str) -> Iterator[str]:
    seen: set[str] = set()
    left = [name]
    while left:
        name = left.pop(0)
        if name not in seen and name in groups:
            seen.add(name)
            yield from groups[name].hosts
            left += groups[name].children


def _ansible_ini(text: str) -> dict[str, _Group]:
    groups: dict[str, _Group] = {"ungrouped": _Group()}
    section, part = "ungrouped", ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and (header := re.fullmatch(r"\[([^\]:]+)(?::(vars|children))?\]\s*(?:[#;].*)?", line)):
            section, part = header[1].strip(), header[2] or ""
            groups.setdefault(section, _Group())
        elif part == "children":
            groups[section].children.append(line.split()[0])
        elif part == "vars":
            name, _, value = line.partition("=")
            groups[section].variables[name.strip()] = value.strip().strip("\"'")
        else:
            try:
                pattern, *words = shlex.split(line, comments=True)
            except ValueError as error:
                raise InventoryError(f"line {number}: {error}: {line!r}") from error
            groups[section].add(pattern, dict(word.split("=", 1) for word in words if "=" in word), f"line {number}")
    return groups


def _ansible_yaml(text: str) -> dict[str, _Group]:
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise InventoryError(f"this is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise InventoryError("an inventory in YAML is a mapping of groups")
    if "_meta" in document or (text.lstrip().startswith("{") and any(map(_is_listed, document.values()))):
        return _ansible_list(document)
    groups: dict[str, _Group] = {}
    for name, content in document.items():
        _walk(str(name), content, groups, depth=0)
    return groups


def _ansible_list(document: dict[Any, Any]) -> dict[str, _Group]:
    """Return the groups of what ``ansible-inventory --list`` prints, or a script that Ansible would run."""
    groups = {}
    variables = _mapping(_mapping(document.get("_meta"), "_meta").get("hostvars"), "_meta.hostvars")
    for name, one in document.items():
        if name != "_meta":
            content = {"hosts": one} if isinstance(one, list) else _mapping(one, name)
            hosts = {str(host): _mapping(variables.get(host), str(host)) for host in content.get("hosts") or []}
            groups[str(name)] = _Group(
                hosts=hosts,
                children=list(map(str, content.get("children") or [])),
                variables=_mapping(content.get("vars"), f"{name}.vars"),
            )
    return groups


def _is_listed(content: Any) -> bool:
    """Say whether a group has its hosts as programs write them, as a list, and not as people do."""
    return isinstance(content, list) or (
        isinstance(content, dict) and any(isinstance(content.get(part), list) for part in ("hosts", "children"))
    )


def _walk(name: str, content: Any, groups: dict[str, _Group], *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InventoryError(f"group {name} is nested too deep")
    fields = _mapping(content, name)
    group = groups.setdefault(name, _Group())
    for pattern, variables in _mapping(fields.get("hosts"), f"{name}.hosts").items():
        group.add(str(pattern), _mapping(variables, f"{name}.hosts.{pattern}"), f"{name}.hosts")
    group.variables |= _mapping(fields.get("vars"), f"{name}.vars")
    for child, inner in _mapping(fields.get("children"), f"{name}.children").items():
        group.children.append(str(child))
        _walk(str(child), inner, groups, depth=depth + 1)


def _mapping(value: Any, where: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InventoryError(f"{where}: expected a mapping, and found {value!r:.60}")
    return value


def _expanded(pattern: str, where: str) -> Iterator[str]:
    """Yield the names that Ansible means by *pattern*: ``web[01:20]`` and ``db-[a:c]`` are ranges."""
    pieces = _RANGE.split(pattern)
    choices: list[list[str]] = []
    count = 1
    for index in range(0, len(pieces) - 1, 4):
        literal, first, last, step = pieces[index : index + 4]
        choices += [[literal], _range(first, last, int(step or 1), f"{where}: {pattern!r}")]
        count *= len(choices[-1])
        if count > MAX_HOSTS:
            raise InventoryError(f"{where}: {pattern!r} is more than {MAX_HOSTS} hosts")
    for parts in product(*choices, [pieces[-1]]):
        yield "".join(parts)


def _range(first: str, last: str, step: int, where: str) -> list[str]:
    is_number = first.isdigit() and last.isdigit()
    if (not is_number and (first.isdigit() or last.isdigit())) or step < 1:
        raise InventoryError(f"{where}: a range goes from number to number or from letter to letter")
    begin, end = (int(first), int(last)) if is_number else (ord(first), ord(last))
    if begin > end or (end - begin) // step >= MAX_HOSTS:
        raise InventoryError(f"{where}: a range goes upwards, to at most {MAX_HOSTS} hosts")
    # A leading zero says how many digits there are.
    width = len(first) if first.startswith("0") else 0
    return [f"{number:0{width}d}" if is_number else chr(number) for number in range(begin, end + 1, step)]


def _ssh(text: str) -> Iterator[Found]:
    # What stands before the first Host is for all of them.
    blocks: list[tuple[list[str], dict[str, str]]] = [(["*"], {})]
    for number, raw in enumerate(text.splitlines(), start=1):
        try:
            words = shlex.split(raw.replace("=", " ", 1) if re.match(r"\s*\w+\s*=", raw) else raw, comments=True)
        except ValueError as error:
            raise InventoryError(f"line {number}: {error}: {raw.strip()!r}") from error
        if not words:
            continue
        keyword, values = words[0].lower(), words[1:]
        if keyword in ("host", "match"):
            blocks.append((values if keyword == "host" else [], {}))
        elif values:
            blocks[-1][1].setdefault(keyword, " ".join(values))
    # A pattern is a rule for hosts, and none itself.
    names = dict.fromkeys(one for patterns, _ in blocks for one in patterns if not set(one) & set("*?!"))
    for name in names:
        settings: dict[str, str] = {}
        for patterns, said in blocks:
            if _is_meant(name, patterns):
                settings = said | settings  # the first counts, as it does for ssh
        address = settings.get("hostname", name).replace("%h", name)
        way = {setting: settings[keyword] for keyword, setting in _SSH_WAY.items() if keyword in settings}
        yield Found(name=name, address=address, way={key: value for key, value in way.items() if value != "none"})


def _is_meant(name: str, patterns: Iterable[str]) -> bool:
    """Say whether a line ``Host`` is about *name*."""
    fits = [pattern for pattern in patterns if fnmatchcase(name, pattern.removeprefix("!"))]
    return bool(fits) and not any(pattern.startswith("!") for pattern in fits)


def _salt(text: str) -> Iterator[Found]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InventoryError(f"this is not JSON ({error}); expected what `salt-key --out json` prints") from error
    minions = document.get("minions") if isinstance(document, dict) else None
    if not isinstance(minions, list) or not all(isinstance(one, str) for one in minions):
        raise InventoryError('there is no list "minions"; expected what `salt-key --out json` prints')
    return (Found(name=minion, address=minion) for minion in minions)


def _csv(text: str) -> Iterator[Found]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), skipinitialspace=True)
    columns = [name.strip().lower() for name in reader.fieldnames or []]
    if "name" not in columns:
        raise InventoryError(f"the first line names the columns, one of them name (address, site); found {columns}")
    reader.fieldnames = columns
    for row in reader:
        values = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
        if None in row:
            raise InventoryError(f"line {reader.line_num}: more fields than columns")
        if values["name"]:
            yield Found(
                name=values["name"], address=values.get("address") or values["name"], site=values.get("site", "")
            )
        elif any(values.values()):
            raise InventoryError(f"line {reader.line_num}: no name")


KINDS: Final[Mapping[str, Callable[[str], Iterator[Found]]]] = {
    "ansible": lambda text: _ansible(text, None),
    "ssh": _ssh,
    "salt": _salt,
    "csv": _csv,
}
"""The lists that can be read."""
