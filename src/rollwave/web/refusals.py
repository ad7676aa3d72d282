"""What the API refuses by itself, before or beside the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.errors import RollwaveError
from rollwave.domain.said import said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollwave.web.problems import Problem


class UnauthorizedError(RollwaveError):
    """The request carries no token, or one that is not valid (any more)."""

    code = "auth.unauthorized"

    def __init__(self, *, reason: str) -> None:
        super().__init__(
            said(
                "%(reason)s; send `Authorization: Bearer TOKEN` (the first is in the file `token` of the data "
                "directory)",
                reason=reason,
            ),
            reason=reason,
        )


class ForbiddenError(RollwaveError):
    """Whoever asks is known, and may not do this."""

    code = "auth.forbidden"

    def __init__(self, *, actor: str, permission: str, app: str | None = None, environment: str | None = None) -> None:
        of_app = f" for {app}" if app else ""
        there = f" in {environment}" if environment else ""
        super().__init__(
            f"{actor} lacks the permission {permission!r}{of_app}{there}; somebody who may manage can grant a role",
            actor=actor,
            permission=permission,
            app=app,
            environment=environment,
        )


class CsrfError(RollwaveError):
    """A session's request without the proof that it comes from a page of ours."""

    code = "auth.csrf"

    def __init__(self) -> None:
        super().__init__(
            said("the request carries a session and no valid X-CSRFToken; reload the page, or use a token")
        )


class MalformedRequestError(RollwaveError):
    """The body is not the JSON that it should be, or a header cannot be read."""

    code = "request.malformed"

    def __init__(self, *, reason: str, field: str | None = None) -> None:
        super().__init__(
            said("the request cannot be read: %(reason)s", reason=reason),
            reason=reason,
            **({"field": field} if field else {}),
        )


class InvalidRequestError(RollwaveError):
    """Fields of the request are missing, unknown or out of range; all of them are named at once."""

    code = "request.invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        message = first.message
        if len(problems) > 1:
            message = said("%(first)s (and %(count)s more)", first=message, count=len(problems) - 1)
        super().__init__(message, field=first.path or None, problems=[problem.to_json() for problem in problems])


class InvalidSpecError(InvalidRequestError):
    """The spec has problems; nothing was changed."""

    code = "spec.invalid"


class SpecMovedError(RollwaveError):
    """Between the look at what a spec would change and its application the fleet has changed."""

    code = "spec.moved"

    def __init__(self) -> None:
        super().__init__("this would change something else by now than what was agreed to; look again")


class TooLargeError(RollwaveError):
    """The body is larger than this server takes."""

    code = "request.too_large"

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            said("the body is larger than %(limit)s bytes, which is the limit here", limit=limit), limit=limit
        )


class UnknownRouteError(RollwaveError):
    """There is nothing at this address."""

    code = "request.unknown_route"

    def __init__(self, *, path: str) -> None:
        super().__init__(
            said("there is nothing at %(path)s; /api/v1/openapi.json lists what there is", path=path), path=path
        )


class WrongMethodError(RollwaveError):
    """The address exists, and not with this method."""

    code = "request.method_not_allowed"

    def __init__(self, *, method: str, allowed: Sequence[str]) -> None:
        super().__init__(
            said("%(method)s is not possible here, only %(allowed)s", method=method, allowed=", ".join(allowed)),
            method=method,
            allowed=list(allowed),
        )


class TokenExistsError(RollwaveError):
    """A token of this name is there already."""

    code = "token.exists"

    def __init__(self, *, name: str) -> None:
        super().__init__(f"there is a token {name!r} already; choose another name, or delete that one first", name=name)


class NameTakenError(RollwaveError):
    """A user and a token that is nobody's cannot share a name: either would act in the other's."""

    code = "name.taken"

    def __init__(self, *, name: str, kind: str) -> None:
        super().__init__(f"{name!r} is the name of a {kind}; choose another one", name=name, kind=kind)


class LastTokenError(RollwaveError):
    """Without this token nobody could manage anything any more."""

    code = "token.last"

    def __init__(self, *, name: str) -> None:
        super().__init__(f"{name!r} is the last that may manage everything; make another one first", name=name)


class UserExistsError(RollwaveError):
    """A user of this name is there already."""

    code = "user.exists"

    def __init__(self, *, name: str) -> None:
        super().__init__(f"there is a user {name!r} already; choose another name", name=name)


class LastManagerError(RollwaveError):
    """Without this user nobody could manage anything any more."""

    code = "user.last_manager"

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"{name!r} is the last who may manage everything; make somebody else an admin first", name=name
        )


class UnavailableError(RollwaveError):
    """Something that the answer needs does not work right now; trying again is right."""

    code = "server.unavailable"

    def __init__(self, *, what: str, reason: str) -> None:
        super().__init__(
            said("%(what)s is not available: %(reason)s; try again", what=what, reason=reason), what=what, reason=reason
        )


class InternalError(RollwaveError):
    """A mistake of the server, which is in its log."""

    code = "server.internal_error"

    def __init__(self) -> None:
        super().__init__(said("the server made a mistake; its log tells what happened"))
