"""What rooms below say in English, in the language of the page: why an action is closed, what is wrong with a chain."""

from __future__ import annotations

import re
from typing import Any, Final

from django.utils.translation import gettext_lazy as later
from django.utils.translation import override

from rollwave.domain.model import Phase
from rollwave.web.language import language_shown
from rollwave.words.catalog import name_of

_SAID: Final = (
    later("the deployment is over (%(phase)s)"),
    later("the deployment is being aborted"),
    later("it is braked (%(said)s)"),
    later("it is in phase %(phase)s, not %(wanted)s"),
    later("%(name)s has approved it already"),
    later("it needs no approval"),
    later("it waits for an approval"),
    later("batches start by themselves (batch_mode is auto)"),
    later("batches start by themselves (a rollback never waits)"),
    later("no batch waits to be let go"),
    later("it is braked already"),
    later("it is not braked"),
    later("nothing is left to go on with: retry, abort or roll back"),
    later("it would brake again at once (%(said)s): lift the hold and retry, or abort"),
    later(
        "it would brake again at once (%(said)s): retry, hold the failed instances, raise the limit, abort or roll back"
    ),
    later("there is nothing to retry in phase %(phase)s"),
    later("it is still going; brake it first, or wait until the phase ends"),
    later("no target has failed that may take part; lift a hold, or abort"),
    later("a rollback always takes half of the group"),
    later("the limit is at its highest, %(percent)s percent"),
    later("no earlier package of this group is known to be good"),
    later("nothing waits to be promoted"),
    later("entry %(first)s is missing"),
    later("entries %(first)s to %(last)s are missing"),
    later("changed, inserted or moved: its code does not fit"),
    later("another entry than the one that was known"),
    later("the seal of the chain's end does not fit"),
    later("the sealed end is another entry than the last one"),
)
"""Whatever `rollwave.domain.actions` and `rollwave.store.audit` say; a test holds them against their sources."""


def spoken(said: str | None) -> str:
    """Return what was *said* in the language of the page; as it is where nobody below says so."""
    for text, pattern in _PATTERNS:
        found = pattern.fullmatch(said or "")
        if found:
            return str(text) % {name: _shown(name, value) for name, value in found.groupdict().items()}
    return said or ""


def _shown(name: str, value: str) -> str:
    if name not in ("phase", "wanted") or value not in {one.value for one in Phase}:
        return value
    return name_of(Phase(value), language_shown())


def _pattern(text: Any) -> re.Pattern[str]:
    with override("en"):
        english = re.escape(str(text))
    return re.compile(re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>.+)", english))


_PATTERNS: Final = tuple((text, _pattern(text)) for text in _SAID)
