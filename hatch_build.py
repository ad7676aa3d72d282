"""
Build hook: compiles the translations, so that a wheel carries what Django reads (.mo) beside what people edit (.po).

Run as a program it does the same for this tree; ``./dev`` does before every chore.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOCALE = Path("src/rollwave/web/locale")


def compile_messages(root: Path) -> list[Path]:
    """Write every .mo below *root* that is missing or older than its .po; return all of them."""
    from babel.messages.mofile import write_mo  # noqa: PLC0415  # the program needs it only where there is work
    from babel.messages.pofile import read_po  # noqa: PLC0415

    compiled = []
    for source in sorted((root / LOCALE).glob("*/LC_MESSAGES/*.po")):
        target = source.with_suffix(".mo")
        if not target.exists() or target.stat().st_mtime_ns <= source.stat().st_mtime_ns:
            with source.open("rb") as text:
                # Without its language it would have two forms of a plural, as English has.
                catalog = read_po(text, locale=source.parents[1].name)
            aside = target.with_suffix(".mo.new")
            with aside.open("wb") as binary:
                write_mo(binary, catalog)
            aside.replace(target)
        compiled.append(target)
    return compiled


class Messages(BuildHookInterface):
    """Called by hatchling, for wheels and for an editable installation alike."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and let the wheel have what is not in the repository."""
        del version
        build_data["artifacts"] += [str(path.relative_to(self.root)) for path in compile_messages(Path(self.root))]


if __name__ == "__main__":
    compile_messages(Path(__file__).resolve().parent)
