"""Lists as tables without lines: one row of plain columns per thing."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from rollwave.cli import marks
from rollwave.cli.times import format_age, format_size, now, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

Row = dict[str, Any]
"""One document of a list, as the API wrote it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """
    One column.

    Attributes:
        title: Its head.
        cell: What a row has there; text is never read as markup.
        is_figure: Figures stand at the right.
        is_long: Sentences: they are the first to be wrapped where there is little room.
    """

    title: str
    cell: Callable[[Row], Text | str | None]
    is_figure: bool = False
    is_long: bool = False


def render_table(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    """Return *rows* as a table."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.is_figure else "left",
            no_wrap=not column.is_long,
            overflow="fold" if column.is_long else "ellipsis",
        )
    for row in rows:
        cells = (column.cell(row) for column in columns)
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell or "") for cell in cells))
    return table


def render_list(kind: str, rows: Sequence[Row], console: Console) -> Table | Text:
    """Return the rows of a *kind* (``groups``) as a table for *console*, or one sentence where there are none."""
    if not rows:
        return Text(EMPTY[kind])
    # Where there is no room, the columns at the end are the first to go.
    columns = COLUMNS[kind] if console.width >= 100 else COLUMNS[kind][: _NARROW.get(kind)]
    return render_table(columns, rows)


def age_of(row: Row, name: str) -> str:
    """Return how long ago the time *name* of a row was, empty where it has none."""
    return format_age(parse_time(row[name]), at=now()) if row.get(name) else ""


def status_of(row: Row) -> Text:
    """Return a deployment's coarse status with its mark."""
    mark = marks.mark_of_status(row["status"])
    return Text(f"{mark.glyph} {row['status']}", style=mark.style)


def instance_state(row: Row) -> Text:
    """Return whether an instance is in traffic, and why not."""
    if row["in_traffic"]:
        return Text(f"{marks.GOOD.glyph} in traffic", style=marks.GOOD.style)
    reasons = list(row.get("out_reasons") or [])
    mark = marks.BAD if "failed" in reasons else marks.MOVING if "deploying" in reasons else marks.GONE
    said = ", ".join("held" if reason == "hold" else reason for reason in reasons)
    raised = (one["actor"] or f"deployment {one['deployment']}" for one in row.get("raised") or [])
    said += "".join(f", by {name}" for name in dict.fromkeys(raised))
    return Text(f"{mark.glyph} out: {said}" if said else f"{mark.glyph} out", style=mark.style)


def _versions(row: Row) -> str:
    before = row.get("previous_version")
    return f"{before} → {row['goal_version']}" if before else str(row["goal_version"])


def _traffic(row: Row) -> Text:
    return Text(
        f"{row['in_traffic_count']} of {row['instance_count']}",
        style="" if row["in_traffic_count"] == row["instance_count"] else "yellow",
    )


def _running(row: Row) -> str:
    versions: dict[str, int] = row.get("versions") or {}
    if len(versions) == 1:
        return next(iter(versions))
    return ", ".join(f"{version} ({count})" for version, count in sorted(versions.items(), key=lambda item: -item[1]))


def _server_state(row: Row) -> Text | str:
    return Text(f"{marks.GONE.glyph} offline", style="yellow") if row["offline"] else "online"


def _active(row: Row) -> str:
    return f"deployment {row['active_deployment']}" if row.get("active_deployment") else ""


def _sending(row: Row) -> Text:
    if not row["enabled"]:
        return Text(f"{marks.GONE.glyph} disabled", style=marks.GONE.style)
    if row["failures"]:
        return Text(f"{marks.BAD.glyph} failing", style=marks.BAD.style)
    return Text(f"{marks.GOOD.glyph} on", style=marks.GOOD.style)


def _arrival(row: Row) -> Text:
    mark = marks.GOOD if row["arrived"] else marks.BAD
    return Text(f"{mark.glyph} {'arrived' if row['arrived'] else 'failed'}", style=mark.style)


def _about(row: Row) -> str:
    return ", ".join([*row["groups"], *row["apps"], *row["environments"]]) or "everything"


COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = MappingProxyType(
    {
        "deployments": (
            Column(title="ID", cell=lambda row: str(row["id"]), is_figure=True),
            Column(title="GROUP", cell=lambda row: row["group"]),
            Column(title="STATUS", cell=status_of),
            Column(title="VERSION", cell=_versions),
            Column(title="STARTED", cell=lambda row: age_of(row, "created_at")),
            Column(title="KIND", cell=lambda row: row["kind"].replace("_", " ")),
            Column(title="BY", cell=lambda row: row["actor"]),
            Column(title="", cell=lambda row: row.get("sentence") or row.get("reason"), is_long=True),
        ),
        "apps": (
            Column(title="NAME", cell=lambda row: row["name"]),
            Column(title="GROUPS", cell=lambda row: ", ".join(row["groups"])),
            Column(title="DESCRIPTION", cell=lambda row: row["description"], is_long=True),
        ),
        "groups": (
            Column(title="NAME", cell=lambda row: row["name"]),
            Column(title="APP", cell=lambda row: row["app"]),
            Column(title="IN TRAFFIC", cell=_traffic),
            Column(title="RUNS", cell=_running, is_long=True),
            Column(title="NOW", cell=_active),
            Column(title="ENVIRONMENT", cell=lambda row: row["environment"]),
        ),
        "servers": (
            Column(title="NAME", cell=lambda row: row["name"]),
            Column(title="ADDRESS", cell=lambda row: row["address"]),
            Column(title="SITE", cell=lambda row: row["site"]),
            Column(title="INSTANCES", cell=lambda row: str(row["instance_count"]), is_figure=True),
            Column(title="STATE", cell=_server_state),
        ),
        "packages": (
            Column(title="APP", cell=lambda row: row["app"]),
            Column(title="VERSION", cell=lambda row: row["version"]),
            Column(title="SIZE", cell=lambda row: format_size(row["size"]), is_figure=True),
            Column(title="PUSHED", cell=lambda row: age_of(row, "pushed_at")),
            Column(title="BY", cell=lambda row: row.get("pushed_by")),
            Column(title="COMMIT", cell=lambda row: (_provenance(row).get("commit") or "")[:12]),
            Column(title="BRANCH", cell=lambda row: _provenance(row).get("branch")),
        ),
        "instances": (
            Column(title="INSTANCE", cell=lambda row: row["name"]),
            Column(title="STATE", cell=instance_state),
            Column(title="RUNS", cell=lambda row: row.get("version") or "unknown"),
            Column(title="SITE", cell=lambda row: row["site"]),
            Column(title="", cell=lambda row: row.get("hold_reason"), is_long=True),
        ),
        "users": (
            Column(title="NAME", cell=lambda row: row["name"]),
            Column(title="ROLES", cell=lambda row: ", ".join([*row["roles"], *row["group_roles"]]) or "none"),
            Column(title="LAST SIGNED IN", cell=lambda row: age_of(row, "last_signed_in_at") or "never"),
            Column(title="", cell=lambda row: "" if row["active"] else "may not sign in"),
            Column(title="", cell=lambda row: row["full_name"], is_long=True),
        ),
        "tokens": (
            Column(title="NAME", cell=lambda row: row["name"]),
            Column(title="OWNER", cell=lambda row: row["owner"] or ""),
            Column(title="ROLES", cell=lambda row: ", ".join(row["roles"])),
            Column(title="CREATED", cell=lambda row: age_of(row, "created_at")),
            Column(title="LAST USED", cell=lambda row: age_of(row, "last_used_at") or "never"),
            Column(title="EXPIRES", cell=lambda row: row.get("expires_at") or "never"),
        ),
        "subscriptions": (
            Column(title="NAME", cell=lambda row: row["name"]),
            Column(title="STATE", cell=_sending),
            Column(title="CHANNEL", cell=lambda row: row["channel"]),
            Column(title="TO", cell=lambda row: row["address"]),
            Column(title="TOPICS", cell=lambda row: ", ".join(row["topics"]), is_long=True),
            Column(title="ABOUT", cell=_about, is_long=True),
            Column(title="", cell=lambda row: row["disabled_reason"] or row["last_error"], is_long=True),
        ),
        "deliveries": (
            Column(title="WHEN", cell=lambda row: age_of(row, "at")),
            Column(title="STATE", cell=_arrival),
            Column(title="DEPLOYMENT", cell=lambda row: str(row["deployment"] or "test"), is_figure=True),
            Column(title="EVENTS", cell=lambda row: str(row["events"]), is_figure=True),
            Column(title="ATTEMPT", cell=lambda row: str(row["attempt"]), is_figure=True),
            Column(title="", cell=lambda row: row["said"], is_long=True),
        ),
    }
)
"""By kind, in the plural."""

_NARROW: Final = MappingProxyType({"deployments": 5, "packages": 5})
"""How many columns of a kind a narrow terminal gets; all of them where nothing is said."""

EMPTY: Final = MappingProxyType(
    {
        "subscriptions": "nobody is told yet; `rollwave subscription put NAME -f FILE` changes that",
        "deliveries": "nothing was sent yet; `rollwave subscription test NAME` does",
        "deployments": "no deployments yet; `rollwave deploy GROUP VERSION` starts one",
        "apps": "no apps yet; `rollwave apply -f FILE` makes them",
        "groups": "no groups yet; `rollwave apply -f FILE` makes them",
        "servers": "no servers yet; `rollwave apply -f FILE` makes them",
        "packages": "no packages yet; `rollwave package push DIR --app APP --version VERSION` adds one",
        "instances": "no instances",
        "tokens": "no tokens",
        "users": "nobody can sign in yet; `rollwave user add NAME --role admin` adds somebody",
    }
)
"""What stands there instead of an empty table."""


def _provenance(row: Row) -> Mapping[str, str | None]:
    return row.get("provenance") or {}
