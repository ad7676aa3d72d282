"""A package on its way: built and signed here, then uploaded, with a progress bar where somebody looks."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from rollwave.cli.session import new_key
from rollwave.cli.times import now
from rollwave.packages.build import build_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console

    from rollwave.cli.client import Client
    from rollwave.packages.archive import Progress as Packed
    from rollwave.packages.build import BuiltPackage
    from rollwave.packages.manifest import Provenance
    from rollwave.packages.signing import SigningKey

_CHUNK: Final = 256 * 1024


class Transfer:
    """
    Builds and uploads, and shows how far it is.

    Args:
        console: Where the bars are drawn; only a terminal gets any.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def build(
        self, source: Path, archive: Path, *, app: str, version: str, key: SigningKey, provenance: Provenance
    ) -> BuiltPackage:
        """
        Write the archive of *source* and sign it.

        Raises:
            RollwaveError: See `build_package`.
        """
        with self._bar("build") as advance, archive.open("wb") as destination:

            def on_progress(packed: Packed) -> None:
                advance(packed.done_size, packed.total_size)

            return build_package(
                source,
                destination,
                app=app,
                version=version,
                key=key,
                created_at=now(),
                provenance=provenance,
                on_progress=on_progress,
            )

    def upload(self, client: Client, archive: Path, built: BuiltPackage, *, app: str, version: str) -> Any:
        """
        Send the archive; return the package as the API shows it.

        Raises:
            ApiError, UnreachableError, NotRollwaveError: See `Client.upload`.
        """
        size = built.archive.size
        headers = {
            "Rollwave-Manifest": base64.b64encode(built.manifest).decode(),
            "Rollwave-Signature": base64.b64encode(built.signature).decode(),
            "Rollwave-Key-Id": built.key_id,
        }
        with self._bar("upload") as advance:

            def chunks() -> Iterator[bytes]:
                sent = 0
                with archive.open("rb") as content:
                    while chunk := content.read(_CHUNK):
                        yield chunk
                        sent += len(chunk)
                        advance(sent, size)

            return client.upload("packages", app, version, key=new_key(), chunks=chunks, size=size, headers=headers)

    @contextmanager
    def _bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        progress = Progress(
            TextColumn(f"{what:<7}"),
            BarColumn(bar_width=40, style="dim", complete_style="blue", finished_style="green"),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        with progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
