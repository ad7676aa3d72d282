"""The OpenAPI document as a judge: whatever the server answers must be declared, with its status and its form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}

OUTSIDE = {404: "request.unknown_route", 405: "request.method_not_allowed"}
"""Answers that belong to no route: the address or its method is not in the document."""


class Document:
    """What the server says about itself."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self._paths = [
            (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path) + "$"), operations)
            # A concrete path goes before one with parameters that fits as well, as OpenAPI has it.
            for path, operations in sorted(content["paths"].items(), key=lambda item: item[0].count("{"))
        ]

    def check(self, response: httpx.Response) -> None:
        """Raise AssertionError if *response* is not declared; an httpx event hook."""
        request = response.request
        asked = f"{request.method} {request.url.path}"
        operation = self._operation(request.method.lower(), request.url.path)
        if operation is None:
            response.read()
            assert response.json()["error"]["code"] == OUTSIDE[response.status_code], f"{asked} is not declared"
            return
        declared = operation["responses"].get(str(response.status_code))
        assert declared is not None, f"{asked} answered {response.status_code}, which is not declared"
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        contents = declared.get("content", {})
        assert kind in contents or (not contents and not kind), (
            f"{asked} answered {kind}, declared are {list(contents)}"
        )
        if kind == "application/json":
            response.read()
            self.validate(response.json(), contents[kind]["schema"], asked)

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        return next((one.get(method) for pattern, one in self._paths if pattern.match(path)), None)

    def validate(self, value: Any, schema: dict[str, Any], where: str) -> None:
        """Raise AssertionError if *value* is not what *schema* says: references, types, keys and items."""
        if "$ref" in schema:
            schema = self.content["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        if "anyOf" in schema:
            problems = []
            for one in schema["anyOf"]:
                try:
                    self.validate(value, one, where)
                except AssertionError as problem:
                    problems.append(str(problem))
                else:
                    return
            raise AssertionError("; ".join(problems))
        kind = schema.get("type")
        if kind is not None:
            assert isinstance(value, TYPES[kind]), f"{where} is {value!r}, not {kind}"
            assert kind == "boolean" or not isinstance(value, bool), f"{where} is {value!r}, not {kind}"
        for index, item in enumerate(value if kind == "array" else ()):
            self.validate(item, schema.get("items", {}), f"{where}[{index}]")
        if kind == "object":
            self._validate_object(value, schema, where)

    def _validate_object(self, value: dict[str, Any], schema: dict[str, Any], where: str) -> None:
        properties = schema.get("properties")
        if properties is None:
            others = schema.get("additionalProperties")
            for name, item in value.items() if isinstance(others, dict) else ():
                self.validate(item, others, f"{where}.{name}")
            return
        assert set(value) == set(properties), f"{where} has {sorted(value)}, declared are {sorted(properties)}"
        for name, item in value.items():
            self.validate(item, properties[name], f"{where}.{name}")
