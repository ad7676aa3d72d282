"""Single sign-on by OpenID Connect: authorization code with PKCE; the ID token says who it is, and in which groups."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.django_client import OAuth
from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.db import transaction
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe
from joserfc.errors import JoseError
from requests import RequestException

from rollwave.store.dialect import alone
from rollwave.store.models import Identity
from rollwave.web import access, origin, tokens
from rollwave.web.context import services
from rollwave.web.people import accounts
from rollwave.web.people.sign_in import PASSWORDS, note_sign_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User
    from django.http import HttpRequest, HttpResponse

    from rollwave.settings_file import SsoSettings

log = structlog.get_logger()

SECRET_VARIABLE: Final = "ROLLWAVE_SSO_CLIENT_SECRET"  # noqa: S105  # the name of one

TIMEOUT_S: Final = 10
"""How long the provider may take for an answer."""

_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that only the provider can make: none that is made with what we know, too."""

_NEXT: Final = "sso_next"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


class NotAdmittedError(Exception):
    """Who the provider sends cannot be let in; says why."""


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Go to the provider."""
    wanted = request.GET.get("next", "")
    request.session[_NEXT] = wanted if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) else "/"
    try:
        response: HttpResponse = _client().authorize_redirect(request, _callback_url(request))
    except (AuthlibBaseError, RequestException, ValueError, RuntimeError) as error:
        return _refused(request, error)
    return response


@require_safe
def callback(request: HttpRequest) -> HttpResponse:
    """Take what the provider says, if it is all true, and begin a session."""
    sso = _settings()
    try:
        token = _client().authorize_access_token(
            request,
            claims_options={
                "iss": {"essential": True, "value": sso.issuer},
                "aud": {"essential": True, "value": sso.client_id},
                "sub": {"essential": True},
                "exp": {"essential": True},
                "nonce": {"essential": True},
            },
            leeway=60,
        )
        origin.note(request)
        user = _admitted(token["userinfo"], sso)
    except (
        AuthlibBaseError,
        JoseError,
        RequestException,
        NotAdmittedError,
        ValueError,
        KeyError,
        RuntimeError,
    ) as error:
        return _refused(request, error)
    wanted = request.session.pop(_NEXT, "/")
    login(request, user, backend=PASSWORDS)
    note_sign_in(request, user, how="single sign-on")
    return HttpResponseRedirect(wanted)


def _settings() -> SsoSettings:
    sso: SsoSettings = settings.SETTINGS.sso
    if sso.issuer is None:
        raise Http404
    return sso


def _client() -> Any:
    sso = _settings()
    client = _made(str(sso.issuer))
    found = client.load_server_metadata()
    if found.get("issuer") != sso.issuer:
        raise ValueError(f"the provider calls itself {found.get('issuer')!r}")
    found["id_token_signing_alg_values_supported"] = list(_ALGORITHMS)
    return client


@cache
def _made(issuer: str) -> Any:
    """Return the client; it remembers what it read of the provider."""
    sso = _settings()
    secret = os.environ.get(SECRET_VARIABLE)
    if secret is None and sso.client_secret_file is not None:
        secret = Path(sso.client_secret_file).read_text().strip()
    return OAuth().register(
        "sso",
        client_id=sso.client_id,
        client_secret=secret,
        server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": " ".join(sso.scopes),
            "code_challenge_method": "S256",
            "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
            "default_timeout": TIMEOUT_S,
        },
    )


def _callback_url(request: HttpRequest) -> str:
    path = "/sso/callback"
    return f"{settings.SETTINGS.web.url}{path}" if settings.SETTINGS.web.url else request.build_absolute_uri(path)


def _admitted(claims: Mapping[str, Any], sso: SsoSettings) -> User:
    """
    Return the user that the provider vouches for; a new one is made. Their groups are what they are now.

    Raises:
        NotAdmittedError: If the claims name nobody, the name is somebody else's, or they may not sign in.
    """
    now = services().clock.now()
    with transaction.atomic():
        alone("people")
        known = Identity.objects.select_related("user").filter(issuer=sso.issuer, subject=claims["sub"]).first()
        user = known.user if known else _new(claims, sso)
        if not user.is_active:
            raise NotAdmittedError(f"{user.get_username()} may not sign in")
        before = accounts.standing(user)
        user.email = str(claims.get("email") or user.email)
        user.save(update_fields=["email"])
        access.replace(_grants(claims, sso), user_id=user.pk, from_groups=True)
        after = accounts.standing(user)
        if known is None:
            accounts.log("created", user, actor=user.get_username(), now=now, after=after)
        elif after != before:
            accounts.log("changed", user, actor="single sign-on", now=now, before=before, after=after)
    return user


def _new(claims: Mapping[str, Any], sso: SsoSettings) -> User:
    name = str(claims.get(sso.username_claim) or "")
    if not _NAME.fullmatch(name):
        raise NotAdmittedError(f"the claim {sso.username_claim} is {name!r}, which is no name of a user")
    users = get_user_model().objects
    if users.filter(username__iexact=name).exists():
        # Whoever may choose their name at the provider must not become somebody else here.
        raise NotAdmittedError(f"there is a user {name!r} already, who signs in by password")
    if tokens.is_nobodys(name):
        raise NotAdmittedError(f"{name!r} is the name of a token")
    first, last = (str(claims.get(claim) or "")[:150] for claim in ("given_name", "family_name"))
    user = users.create_user(name, first_name=first, last_name=last)
    Identity.objects.create(user=user, issuer=str(sso.issuer), subject=claims["sub"])
    return user


def _grants(claims: Mapping[str, Any], sso: SsoSettings) -> list[access.Grant]:
    told = claims.get(sso.groups_claim) or []
    groups = [told] if isinstance(told, str) else told
    return [access.from_text(role) for group in groups for role in sso.roles.get(str(group), ())]


def _refused(request: HttpRequest, error: Exception) -> HttpResponse:
    log.warning("sso_refused", reason=str(error), kind=type(error).__name__)
    reason = str(error) if isinstance(error, NotAdmittedError) else ""
    return render(request, "people/refused.html", {"reason": reason}, status=403)
