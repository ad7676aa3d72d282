"""Types of input fields: each says in one sentence what would be right, and shows it in the OpenAPI document."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

from msgspec.structs import fields
from pydantic import BaseModel, ConfigDict, create_model
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from rollwave.domain.config import RANGES, DeploymentConfig
from rollwave.domain.said import Said, said
from rollwave.ports.packages import APP_PATTERN, VERSION_PATTERN
from rollwave.store import codec


class Input(BaseModel):
    """What a client sends: an unknown key is a mistake, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """
    What a value has to be; stands inside ``Annotated``.

    Attributes:
        expected: What would be right, as the end of a sentence.
        is_good: Whether a value is right.
        schema: The same as JSON schema.
        read: Makes the field's value of a right one.
    """

    expected: Said
    is_good: Callable[[Any], object]
    schema: Mapping[str, object]
    read: Callable[[Any], Any] = lambda value: value

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: object, handler: object) -> dict[str, Any]:
        return {**self.schema, "description": self.expected}

    def _check(self, value: Any) -> Any:
        if not self.is_good(value):
            raise PydanticCustomError("invalid_value", "expected {expected}", {"expected": self.expected})
        return self.read(value)


def whole(low: int, high: int) -> Rule:
    """A whole number in *low*..*high*."""
    return Rule(
        said("a whole number from %(low)s to %(high)s", low=low, high=high),
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        {"type": "integer", "minimum": low, "maximum": high},
    )


def like(pattern: str, expected: Said) -> Rule:
    """A text that matches *pattern* as a whole."""
    compiled = re.compile(pattern)
    return Rule(
        expected,
        lambda value: isinstance(value, str) and compiled.fullmatch(value),
        {"type": "string", "pattern": f"^(?:{pattern})$"},
    )


def one_of(kind: type[Enum]) -> Rule:
    """A member of *kind*, given by its value."""
    values = [member.value for member in kind]
    # Defaults are members already; a list can be asked about anything, a set only about what can be hashed.
    return Rule(
        said("one of %(values)s", values=", ".join(values)),
        lambda value: value in values,
        {"type": "string", "enum": values},
        read=kind,
    )


YES_OR_NO: Final = Rule(said("true or false"), lambda value: isinstance(value, bool), {"type": "boolean"})
"""A boolean; not a word or a number that could be taken for one."""

Flag = Annotated[bool, YES_OR_NO]
AppName = Annotated[str, like(APP_PATTERN.pattern, said("lower-case letters, digits and dashes, at most 63"))]
Version = Annotated[str, like(VERSION_PATTERN.pattern, said("letters, digits and . _ + -, at most 100"))]
Port = Annotated[int, whole(1, 65_535)]

_SETTING_TYPES: Final = get_type_hints(DeploymentConfig)


def _rule_of(name: str) -> Rule:
    if name in RANGES:
        return whole(*RANGES[name])
    kind = _SETTING_TYPES[name]
    return YES_OR_NO if kind is bool else one_of(kind)


if TYPE_CHECKING:

    class Settings(Input):
        """Settings of a deployment; what is not named keeps its value."""

else:
    # Names, defaults and ranges are read from the domain, so that both can never disagree.
    Settings = create_model(
        "Settings",
        __base__=Input,
        __doc__="Settings of a deployment; what is not named keeps its value.",
        **{
            one.name: (Annotated[_SETTING_TYPES[one.name], _rule_of(one.name)], one.default)
            for one in fields(DeploymentConfig)
        },
    )


def merged(*layers: Mapping[str, object]) -> DeploymentConfig:
    """Return the defaults overlaid by *layers* of JSON values, the last one wins; each was validated before."""
    return codec.config({name: value for layer in layers for name, value in layer.items()})


def as_json(settings: BaseModel | DeploymentConfig, names: Iterable[str] | None = None) -> dict[str, object]:
    """Return settings as JSON values: all of them, or those in *names*."""
    wanted = [setting.name for setting in fields(DeploymentConfig)] if names is None else list(names)
    values = {name: getattr(settings, name) for name in wanted}
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
