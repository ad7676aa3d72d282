"""Whether a server can be released to: every instance that it carries is looked at, and nothing is changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from asgiref.sync import async_to_sync

from rollwave.domain.errors import NotFoundError
from rollwave.engine.host_check import Candidate, HostCheck
from rollwave.ports.executor import Host, HostQuestion
from rollwave.store import jobs
from rollwave.store.models import Instance, Server
from rollwave.web.context import services
from rollwave.web.problems import did_you_mean

if TYPE_CHECKING:
    from rollwave.ports.executor import Finding

FREE_BYTES: Final = 1 << 30
"""How much room a server has to have for the versions of an instance."""


def check_server(server: str, *, group: str | None = None) -> list[tuple[str, tuple[Finding, ...]]]:
    """
    Return what was found about each instance on *server*, of all groups or of *group* alone.

    Raises:
        NotFoundError: If there is no such server, or it carries nothing (of that group): then nobody knows what to ask.
    """
    if not Server.objects.filter(name=server).exists():
        names = Server.objects.values_list("name", flat=True)
        raise NotFoundError(kind="server", name=server, hint=did_you_mean(server, names).removeprefix("; "))
    of_server = Instance.objects.select_related("group__app", "server").filter(server__name=server)
    rows = of_server.order_by("group__name", "port")
    candidates = [_candidate(row) for row in rows if group in (None, row.group.name)]
    if not candidates:
        hint = "put the server into a group first: what it needs depends on that"
        raise NotFoundError(kind="instance", name=f"{group or 'any group'}/{server}", hint=hint)
    # The adapters belong to the event loop of this process, which is the one that we are called from.
    return list(async_to_sync(_look)(candidates))


async def _look(candidates: list[Candidate]) -> list[tuple[str, tuple[Finding, ...]]]:
    rollwave = services()
    check = HostCheck(executors=rollwave.executors, balancers=rollwave.balancers, clock=rollwave.clock)
    found = await asyncio.gather(*(check.look(candidate) for candidate in candidates))
    names = (candidate.question.host.instance for candidate in candidates)
    return list(zip(names, found, strict=True))


def _candidate(row: Instance) -> Candidate:
    group, server = row.group, row.server
    host = Host(
        instance=f"{group.name}/{server.name}:{row.port}",
        server=server.name,
        address=server.address,
        port=row.port,
        deploy_path=jobs.deploy_path(group, server=server.name, port=row.port),
    )
    question = HostQuestion(
        host=host,
        app=group.app.name,
        start=tuple(group.start),
        stop=tuple(group.stop),
        health_path=group.health_path,
        free_bytes=FREE_BYTES,
    )
    return Candidate(question=question, executor=group.executor, balancer=group.balancer, pool=group.pool or group.name)
