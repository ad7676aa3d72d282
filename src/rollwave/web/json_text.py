"""JSON as the API writes it: times in UTC with a Z, enums by their value, paths as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, (Path, bytes)):
        return str(value)
    if isinstance(value, str):
        return str(value)  # one that remembers what it is made of
    # Facts of an error may quote whatever a client sent.
    return repr(value)


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def encode(value: Any) -> bytes:
    """Return *value* as JSON."""
    return _encoder.encode(value)
