"""The HTTP API, version 1: JSON in, JSON out, a bearer token, and one form for every error."""

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.errors import ValidationErrorContext
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.renderers import BaseRenderer

from rollwave.web.api import (
    apps,
    audit,
    comparison,
    consequences,
    deployments,
    errors,
    events,
    groups,
    packages,
    plans,
    search,
    servers,
    settings,
    spec,
    subscriptions,
    targets,
    users,
)
from rollwave.web.api import tokens as token_routes
from rollwave.web.api.auth import Undeclared
from rollwave.web.json_text import encode
from rollwave.web.problems import problems_of
from rollwave.web.refusals import InvalidRequestError


class _Json(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        del request, response_status
        return encode(data)


class _Schema(OpenAPISchema):
    """The document, which names the permission that each operation needs."""

    def operation_details(self, operation: Operation) -> dict[str, Any]:
        details: dict[str, Any] = super().operation_details(operation)
        needed = {one.need.permission.value for one in operation.auth_callbacks if hasattr(one, "need")}
        return {**details, "x-permission": needed.pop()} if needed else details


class Api(NinjaAPI):
    """Ninja, with the problems of a request told in our own form."""

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Return the OpenAPI document."""
        return _Schema(self, self.get_root_path(path_params or {}) if path_prefix is None else path_prefix)

    def get_content_type(self) -> str:
        """Return the type of every answer: JSON has one encoding and no parameter that names it."""
        return _Json.media_type

    def validation_error_from_error_contexts(self, error_contexts: list[ValidationErrorContext[Any]]) -> Any:
        """Return what to raise for a request that does not fit its route."""
        problems = []
        for context in error_contexts:
            # A body is wrapped into a model that has it as its only field: that name means nothing to the client.
            is_body = getattr(context.model, "__read_from_single_attr__", None) is not None
            problems += problems_of(context.pydantic_validation_error, context.model, skip=int(is_body))
        return InvalidRequestError(problems)


def make_api() -> Api:
    """Return the API with all of its routes."""
    api = Api(
        title="Rollwave",
        version="1",
        description="Releases to a fleet of servers, batch by batch, without users noticing. See docs/api.md.",
        urls_namespace="api-v1",
        auth=Undeclared(),
        renderer=_Json(),
        docs_url=None,
    )
    for prefix, router in (
        ("/apps", apps.router),
        ("/groups", groups.router),
        ("/servers", servers.router),
        ("/spec", spec.router),
        ("/packages", packages.router),
        ("/plans", plans.router),
        ("/deployments", deployments.router),
        ("/deployments", comparison.router),
        ("/deployments", consequences.router),
        ("/deployments", targets.router),
        ("/deployments", events.router),
        ("/audit", audit.router),
        ("/search", search.router),
        ("/settings", settings.router),
        ("/subscriptions", subscriptions.router),
        ("/tokens", token_routes.router),
        ("/users", users.router),
        ("/me", users.me_router),
    ):
        api.add_router(prefix, router)
    errors.register(api)
    return api
