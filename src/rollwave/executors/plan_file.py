"""The plan file: what one deployment means for one instance, as the exact bytes that the driver reads."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rollwave.ports.executor import HostPlan

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class HashedFile:
    """
    A file that is written once under the hash of its content, and never changed.

    Attributes:
        content: All of it.
        sha256: Hex digest of *content*.
    """

    content: bytes
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Hash *content*."""
        return cls(content, hashlib.sha256(content).hexdigest())


def plan_file(plan: HostPlan) -> HashedFile:
    """Return *plan* as canonical JSON (sorted keys, no spaces, UTF-8): the same plan is always the same bytes."""
    package = plan.package
    document = {
        "format": _FORMAT,
        "deployment_id": plan.deployment_id,
        "created_us": plan.created_us,
        "instance": plan.host.instance,
        "server": plan.host.server,
        "port": plan.host.port,
        "deploy_path": plan.host.deploy_path,
        "app": package.app,
        "version": package.version,
        "package": {
            "sha256": package.sha256,
            "size": package.size,
            "url": package.url,
            "manifest": base64.b64encode(package.manifest).decode(),
            "signature": base64.b64encode(package.signature).decode(),
            "key_id": package.key_id,
        },
        "previous_version": plan.previous_version,
        "start": plan.start,
        "stop": plan.stop,
        "health_path": plan.health_path,
        "version_path": plan.version_path,
        "startup_timeout_s": plan.startup_timeout_s,
        "command_timeout_s": plan.command_timeout_s,
        "ignore_verify": plan.ignore_verify,
        "keep_versions": plan.keep_versions,
    }
    return HashedFile.of(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
