"""
Static files of the portal: ours, and those that come in wheels (typefaces, htmx), under names that say their content.

They are gathered into the data directory by the process that serves them, once for each version of them. A name never
changes its content, so browsers may keep a file for ever, and two versions of Rollwave can serve side by side.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from django.contrib.staticfiles.finders import FileSystemFinder
from django.http import HttpResponse
from django.utils.decorators import async_only_middleware
from whitenoise import WhiteNoise
from whitenoise.storage import CompressedManifestStaticFilesStorage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from django.http import HttpRequest

URL: Final = "static/"

_OURS: Final = Path(__file__).parent / "static"

_PICKED: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = MappingProxyType(
    {
        "geist": ("fontpkg_geist", "files", ("Geist[wght].ttf",)),
        "geist-mono": ("fontpkg_geist_mono", "files", ("GeistMono[wght].ttf",)),
        "htmx": ("django_htmx", "static/django_htmx", ("htmx-2.min.js",)),
    }
)
"""Files of other packages: the folder they are served in, the package, its folder, and which of the files there."""


def places() -> list[Path | tuple[str, Path]]:
    """Return where static files come from, as Django's setting STATICFILES_DIRS."""
    return [_OURS, *((prefix, _package(name) / folder) for prefix, (name, folder, _) in _PICKED.items())]


def root(data_dir: Path) -> Path:
    """Return the folder for the static files of this very version of them, which may not be there yet."""
    wanted = hashlib.sha256()
    for path in _sources():
        facts = path.stat()
        wanted.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return data_dir / "static" / wanted.hexdigest()[:16]


def collect() -> Path:
    """Gather all files where the settings say, unless they are there; return the folder."""
    from django.conf import settings  # noqa: PLC0415  # the settings need this module
    from django.core.management import call_command  # noqa: PLC0415
    from django.test.utils import override_settings  # noqa: PLC0415

    there = Path(settings.STATIC_ROOT)
    if not there.exists():
        # Whole or not at all: of several processes that start at once the first wins.
        aside = there.with_name(f"{there.name}.{os.getpid()}")
        with override_settings(STATIC_ROOT=str(aside)):
            call_command("collectstatic", interactive=False, verbosity=0)
        try:
            aside.rename(there)
        except OSError:
            shutil.rmtree(aside)
    return there


class Finder(FileSystemFinder):
    """Finds ours, and of the packages only what we serve."""

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[Any]:
        """Yield path and storage of every file."""
        for path, storage in super().list(ignore_patterns):
            prefix = getattr(storage, "prefix", None)
            if not prefix or path in _PICKED[prefix][2]:
                yield path, storage


class Storage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it comes without types
    """Hashed names, also inside of the imports of our modules: no import map is needed, so no inline script."""

    support_js_module_import_aggregation = True


@async_only_middleware
def static_files(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Middleware: answers for static files, before anything else looks at the request."""
    shelf = WhiteNoise(
        None, root=str(collect()), prefix=URL, max_age=60, allow_all_origins=False, immutable_file_test=_is_hashed
    )

    async def answer(request: HttpRequest) -> HttpResponse:
        file = shelf.files.get(request.path_info)
        if file is None or request.method not in {"GET", "HEAD"}:
            return await get_response(request)
        found = file.get_response(request.method, request.META)
        # At most two hundred kilobytes, from the system's cache: no thread is needed for that.
        content = b"" if found.file is None else found.file.read()
        if found.file is not None:
            found.file.close()
        return HttpResponse(content, status=found.status, headers=dict(found.headers))

    return answer


def _is_hashed(path: str, url: str) -> bool:
    """Return whether the name of a file says its content: ``name.0123456789ab.css``."""
    del path
    parts = url.rsplit("/", 1)[-1].split(".")
    return len(parts) > 2 and len(parts[-2]) == 12 and all(one in "0123456789abcdef" for one in parts[-2])


def _sources() -> Iterator[Path]:
    yield from sorted(path for path in _OURS.rglob("*") if path.is_file())
    for name, folder, files in _PICKED.values():
        yield from (_package(name) / folder / file for file in files)


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
