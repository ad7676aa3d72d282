"""The driver's command line, the same whatever carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.ports.executor import HostVerb

if TYPE_CHECKING:
    from rollwave.ports.executor import HostCommand


def arguments_of(command: HostCommand, *, plan_path: str, plan_hash: str, wait_s: float | None) -> tuple[str, ...]:
    """Return the arguments that have the verb done, waiting at most *wait_s*; None: that read its journal."""
    identity = (plan_path, *_identity(command, plan_hash))
    if wait_s is None:
        return ("status", *identity, "--verb", command.verb.value)
    return (command.verb.value, *identity, "--wait", str(wait_s))


def patience_s(command: HostCommand, *, download_s: float, slack_s: float = 30.0) -> float:
    """
    Return how long the verb may take by its plan, in seconds; after that its state is unknown.

    Args:
        command: The command.
        download_s: How long a download may take: the plan does not know the network.
        slack_s: For everything around it: a queue on the host, slow disks.
    """
    plan = command.plan
    restart_s = 2 * plan.command_timeout_s
    expected_s = {
        HostVerb.DOWNLOAD: download_s,
        HostVerb.INSTALL: restart_s,
        HostVerb.VERIFY: plan.startup_timeout_s,
        HostVerb.PROVE: 0,
        HostVerb.RESTORE: restart_s + plan.startup_timeout_s,
    }
    return expected_s[command.verb] + slack_s


def _identity(command: HostCommand, plan_hash: str) -> tuple[str, ...]:
    return (
        "--plan-hash",
        plan_hash,
        "--attempt",
        str(command.attempt),
        "--fence",
        str(command.fence),
        "--deadline",
        repr(command.deadline),
    )
