"""The picture of a plan: every batch with its instances, before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import fields
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rollwave.cli.times import format_duration
from rollwave.domain.config import DeploymentConfig

if TYPE_CHECKING:
    from collections.abc import Iterator


def render_plan(document: dict[str, Any]) -> Group:
    """Return the plan *document* as the API wrote it, each instance shown once."""
    return Group(*_parts(document))


def _parts(document: dict[str, Any]) -> Iterator[Any]:
    title = Text.assemble((document["group"], "bold"), "  ")
    if document["previous_version"]:
        title.append(f"{document['previous_version']} → ", style="dim")
    title.append(document["goal_version"], style="bold")
    title.append(f"   plan of a {document['kind'].replace('_', ' ')}", style="dim")
    yield title
    batches = document["batches"]
    total = sum(len(batch["instances"]) for batch in batches)
    yield Text(
        f"{total} {_plural(total, 'instance')} in {len(batches)} {_plural(len(batches), 'batch', 'batches')}, "
        f"at most {document['limit_count']} of {document['eligible_count']} out of traffic at a time"
    )
    estimated = f"about {format_duration(document['eta_s'])}, by the last good release; " if document["eta_s"] else ""
    sites = ", ".join(f"{count} in {site}" for site, count in document["sites"].items())
    yield Text(f"{estimated}{sites}", style="dim")
    yield Text()
    yield _batch_table(batches, group=document["group"])
    if document["excluded"]:
        yield Text()
        yield Text(f"not part of it: {_excluded(document)}", style="dim")
    changed = _changed_settings(document["config"])
    if changed:
        yield Text(f"settings other than the default: {changed}", style="dim")
    if document["active_deployment"] is not None:
        yield Text()
        yield Text(
            f"deployment {document['active_deployment']} of this group is not over; this one cannot start before it is",
            style="yellow",
        )


def _batch_table(batches: list[dict[str, Any]], *, group: str) -> Padding:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    for batch in batches:
        name = Text(f"batch {batch['number']}", style="bold")
        instances = Text(", ".join(one.removeprefix(f"{group}/") for one in batch["instances"]))
        table.add_row(name, str(len(batch["instances"])), instances)
        note = _note(batch)
        if note:
            table.add_row("", "", Text(note, style="dim"))
    return Padding(table, (0, 0, 0, 2))


def _note(batch: dict[str, Any]) -> str:
    notes = ["canary: verified out of traffic, then waits to be baked"] if batch["canary"] else []
    if batch["pause_s"]:
        notes.append(f"{format_duration(batch['pause_s'])} pause before it")
    return "; ".join(notes)


def _excluded(document: dict[str, Any]) -> str:
    prefix = f"{document['group']}/"
    words = {"hold": "held", "in_service": "in service already", "new": "never in service"}
    return ", ".join(
        f"{one['instance'].removeprefix(prefix)} ({', '.join(words.get(reason, reason) for reason in one['reasons'])})"
        for one in document["excluded"]
    )


def _changed_settings(config: dict[str, Any]) -> str:
    changed = []
    for setting in fields(DeploymentConfig):
        default = getattr(setting.default, "value", setting.default)
        if setting.name in config and config[setting.name] != default:
            value = config[setting.name]
            changed.append(f"{setting.name}={str(value).lower() if isinstance(value, bool) else value}")
    return ", ".join(changed)


def _plural(count: int, one: str, many: str = "") -> str:
    return one if count == 1 else many or f"{one}s"
