"""Settings: what ``rollwave.toml`` and the environment say, without what is secret."""

import re
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from django.conf import settings as django_settings
from django.http import HttpRequest
from ninja import Router
from pydantic import Field

from rollwave.web.access import Permission, everywhere
from rollwave.web.api.auth import needs
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output
from rollwave.web.context import services

router = Router(tags=["settings"])

_SECRET: Final = re.compile(r"(password|secret|token|credential|key)$")
"""Names of settings whose value nobody is shown; the path of a file is not secret."""

_IN_QUERY: Final = re.compile(r"([?&](?:password|secret|token)=)[^&#]+")

HIDDEN: Final = "(hidden)"


class SettingsOut(Output):
    """An installation."""

    version: str
    data_dir: str
    tables: dict[str, dict[str, Any]] = Field(
        description="By the name of the table in rollwave.toml, defaults included."
    )


@router.get("", auth=needs(Permission.MANAGE, everywhere), response=answers(ok=SettingsOut))
def read_settings(request: HttpRequest) -> SettingsOut:
    """Read what the installation is set to; passwords and secrets are left out."""
    del request
    tables: dict[str, dict[str, Any]] = {}
    for name, table in msgspec.to_builtins(services().settings).items():
        named = isinstance(table, dict) and name in ("balancers", "executors", "monitors")
        for key, content in (
            {f"{name}.{one}": value for one, value in table.items()} if named else {name: table}
        ).items():
            tables[key] = {field: _shown(field, value) for field, value in content.items()}
    return SettingsOut(version=version("rollwave"), data_dir=str(django_settings.DATA_DIR), tables=tables)


def _shown(name: str, value: Any) -> Any:
    if value is None:
        return None
    if _SECRET.search(name):
        return HIDDEN
    return _without_password(value) if isinstance(value, str) else value


def _without_password(value: str) -> str:
    """Return *value*; where it is an address with a password, without that."""
    value = _IN_QUERY.sub(rf"\1{HIDDEN}", value)
    try:
        parts = urlsplit(value)
        if not parts.password:
            return value
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", f":{HIDDEN}@", 1)))
    except ValueError:
        return value
