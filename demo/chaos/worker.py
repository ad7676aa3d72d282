"""
``python -m demo.chaos.worker DATA INTERPRETER``: a worker that reaches every host inside the host's own network.

All of it is ``rollwave worker``, but for the interpreter of the host driver: see `demo.chaos.host.write_way`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollwave.worker import work

if TYPE_CHECKING:
    from rollwave.bootstrap import Rollwave


def wire(data_dir: Path, **named: Any) -> Rollwave:
    """Wire a Rollwave as always, with our way to the hosts."""
    # Models can be imported only once Django is set up.
    from rollwave.bootstrap import build  # noqa: PLC0415
    from rollwave.executors.local import LocalExecutor  # noqa: PLC0415
    from rollwave.host import driver_source  # noqa: PLC0415
    from rollwave.packages.signing import TrustedKeys  # noqa: PLC0415

    keys = TrustedKeys.from_directory(data_dir / "keys").by_id
    pems = {key_id: key.pem for key_id, key in keys.items()}
    local = LocalExecutor(driver=driver_source(), trusted_keys=pems, interpreter=sys.argv[2])
    return build(data_dir, executors={"local": local}, **named)


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]), wire=wire))
