"""Errors as answers: one table turns the code of an error into a status, one schema carries it."""

from __future__ import annotations

from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.db import OperationalError
from django.http import HttpResponse
from ninja.errors import AuthenticationError, HttpError
from pydantic import BaseModel, Field

from rollwave.domain import errors as domain
from rollwave.packages import errors as packages
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError
from rollwave.ports.executor import HostUnknownError, HostUnreachableError
from rollwave.web import refusals
from rollwave.web.json_text import encode

if TYPE_CHECKING:
    from django.http import HttpRequest
    from ninja import NinjaAPI

log = structlog.get_logger()

_BY_STATUS: Final[dict[HTTPStatus, tuple[type[domain.RollwaveError], ...]]] = {
    HTTPStatus.BAD_REQUEST: (refusals.MalformedRequestError,),
    HTTPStatus.UNAUTHORIZED: (refusals.UnauthorizedError,),
    HTTPStatus.FORBIDDEN: (domain.OwnApprovalError, refusals.ForbiddenError, refusals.CsrfError),
    HTTPStatus.NOT_FOUND: (domain.NotFoundError, refusals.UnknownRouteError),
    HTTPStatus.METHOD_NOT_ALLOWED: (refusals.WrongMethodError,),
    HTTPStatus.CONFLICT: (
        domain.EmptyGroupError,
        domain.DeploymentActiveError,
        domain.ActionNotAllowedError,
        domain.NoStablePackageError,
        domain.NeverReleasedError,
        domain.StateConflictError,
        domain.IdempotencyConflictError,
        refusals.SpecMovedError,
        packages.VersionTakenError,
        packages.KeyExistsError,
        refusals.TokenExistsError,
        refusals.NameTakenError,
        refusals.LastTokenError,
        refusals.UserExistsError,
        refusals.LastManagerError,
        BalancerPoolError,
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (packages.PackageTooLargeError, refusals.TooLargeError),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        domain.InvalidValueError,
        refusals.InvalidRequestError,
        refusals.InvalidSpecError,
        packages.UnsupportedEntryError,
        packages.EmptyPackageError,
        packages.NotAPackageError,
        packages.ManifestInvalidError,
        packages.ManifestMismatchError,
        packages.ChecksumMismatchError,
        packages.SignatureInvalidError,
        packages.UnknownKeyError,
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        BalancerUnknownError,
        HostUnknownError,
        HostUnreachableError,
        refusals.UnavailableError,
    ),
    HTTPStatus.INSUFFICIENT_STORAGE: (packages.StoreFullError,),
    HTTPStatus.INTERNAL_SERVER_ERROR: (refusals.InternalError, packages.StoreDamagedError),
}

STATUSES: Final = MappingProxyType({kind.code: int(status) for status, kinds in _BY_STATUS.items() for kind in kinds})
"""The status of every error that can reach a client, by its code. A code that is not here is a bug: 500, and logged."""


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str = Field(description="Stable, dotted name of the kind of error.")
    message: str = Field(description="One sentence for a person: what is wrong, and what would be right.")
    field: str | None = Field(description="Path of the field at fault, null where none is.")
    facts: dict[str, Any] = Field(description="What the message was built from.")


class ErrorOut(BaseModel):
    """The form of every error."""

    error: ErrorBody


def answers(*kinds: type[domain.RollwaveError], **ok: Any) -> dict[int, Any]:
    """
    Return the declared answers of a route.

    Args:
        kinds: Errors that the route itself can meet; those that every route can meet are added.
        ok: Schema of each success, by ``ok`` (200) or ``created`` (201).
    """
    everywhere: tuple[type[domain.RollwaveError], ...] = (
        refusals.UnauthorizedError,
        refusals.ForbiddenError,
        refusals.InternalError,
        refusals.UnavailableError,
    )
    found: dict[int, Any] = {{"ok": 200, "created": 201}[name]: schema for name, schema in ok.items()}
    all_kinds = [*kinds, *everywhere]
    return found | {STATUSES[kind.code]: ErrorOut for kind in all_kinds}


def error_response(error: domain.RollwaveError) -> HttpResponse:
    """Return the answer that tells *error*."""
    facts = dict(error.facts)
    field = facts.get("field")
    status = STATUSES.get(error.code)
    if status is None:
        log.error("undeclared_error", code=error.code, reason=error.message, exc_info=error)
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
    content = {"error": {"code": error.code, "message": error.message, "field": field, "facts": facts}}
    response = HttpResponse(encode(content), status=status, content_type="application/json")
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response


def translated(error: Exception, request: HttpRequest) -> domain.RollwaveError:
    """Return *error* as one that can be told; what nobody expected is logged with its traceback."""
    if isinstance(error, domain.RollwaveError):
        return error
    if isinstance(error, AuthenticationError):
        given = request.headers.get("Authorization")
        return refusals.UnauthorizedError(reason="the token is not valid" if given else "there is no token")
    if isinstance(error, HttpError) and error.status_code == HTTPStatus.BAD_REQUEST:
        return refusals.MalformedRequestError(reason=f"the body is not JSON: {error.__cause__ or error}")
    if isinstance(error, OperationalError):
        log.warning("store_unavailable", path=request.path, exc_info=error)
        return refusals.UnavailableError(what="the database", reason=str(error))
    log.error("request_failed", method=request.method, path=request.path, exc_info=error)
    return refusals.InternalError()


def register(api: NinjaAPI) -> None:
    """Let *api* answer every error in the one form."""

    def answer(request: HttpRequest, error: Any) -> HttpResponse:
        return error_response(translated(error, request))

    for kind in (Exception, HttpError, domain.RollwaveError):
        api.add_exception_handler(kind, answer)
