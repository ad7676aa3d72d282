"""The pages about people: users and what they may, one's own account, tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rollwave.domain.errors import NotFoundError, RollwaveError
from rollwave.store.models import Token
from rollwave.web import access, tokens
from rollwave.web.access import Permission, everywhere, may, needs, principal_of
from rollwave.web.api.audit import look
from rollwave.web.api.tokens import check_owner
from rollwave.web.api.tokens import shown as shown_token
from rollwave.web.api.users import shown as shown_user
from rollwave.web.context import services
from rollwave.web.people import accounts, sessions
from rollwave.web.people.forms import Grants, NewToken, NewUser, UserDetails, grants_in, rows_of
from rollwave.web.told import told

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

_UNPROCESSABLE = 422


@require_http_methods(["GET", "POST"])
@needs(Permission.MANAGE, everywhere)
def users(request: HttpRequest) -> HttpResponse:
    """List the users; make one."""
    form = NewUser(request.POST or None)
    grants = Grants(request.POST or None, prefix="grants")
    if request.method == "POST" and form.is_valid() and grants.is_valid():
        maker, now, data = principal_of(request), services().clock.now(), form.cleaned_data
        try:
            user = accounts.add(
                data["name"],
                maker=maker,
                grants=grants_in(grants),
                now=now,
                full_name=data["full_name"],
                email=data["email"],
            )
        except RollwaveError as error:
            form.add_error(None, told(error))
        else:
            return _invited(request, user)
    rows = get_user_model().objects.prefetch_related("grants").order_by("username")
    context = {"users": [shown_user(row) for row in rows], "form": form, "grants": grants}
    return render(request, "people/users.html", context, status=_status(form, grants))


@require_http_methods(["GET", "POST"])
@needs(Permission.MANAGE, everywhere)
def user(request: HttpRequest, *, name: str) -> HttpResponse:
    """Show one user; change what they may, and whether they may sign in."""
    found = _user(name)
    row = shown_user(found)
    details = UserDetails(
        request.POST or None, initial={"full_name": row.full_name, "email": row.email, "active": row.active}
    )
    own = [access.from_text(one) for one in row.roles]
    grants = Grants(request.POST or None, prefix="grants", initial=rows_of(own))
    if request.method == "POST" and details.is_valid() and grants.is_valid():
        now = services().clock.now()
        try:
            accounts.change(
                found, maker=principal_of(request), now=now, grants=grants_in(grants), **details.cleaned_data
            )
        except RollwaveError as error:
            details.add_error(None, told(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("people:user", name=name)
    context = {"person": row, "form": details, "grants": grants}
    return render(request, "people/user.html", context, status=_status(details, grants))


@require_POST
@needs(Permission.MANAGE, everywhere)
def invite(request: HttpRequest, *, name: str) -> HttpResponse:
    """Make a new link at which somebody chooses a password."""
    return _invited(request, _user(name))


@require_POST
@needs(Permission.MANAGE, everywhere)
def remove(request: HttpRequest, *, name: str) -> HttpResponse:
    """Remove a user and their tokens."""
    try:
        accounts.remove(_user(name), maker=principal_of(request), now=services().clock.now())
    except RollwaveError as error:
        messages.error(request, told(error))
        return redirect("people:user", name=name)
    messages.success(request, _("%(name)s was removed.") % {"name": name})
    return redirect("people:users")


@needs(Permission.VIEW)
def account(request: HttpRequest) -> HttpResponse:
    """Show who one is here, and what one may."""
    person = shown_user(request.user)
    context = {"person": person, "own_password": _has_password(request), "sessions": sessions.of_user(request)}
    return render(request, "people/account.html", context)


@require_http_methods(["GET", "POST"])
@needs(Permission.VIEW)
def token_list(request: HttpRequest) -> HttpResponse:
    """List one's own tokens, or all for whoever manages everything; make one, and show it this once."""
    principal = principal_of(request)
    form = NewToken(request.POST or None)
    grants = Grants(request.POST or None, prefix="grants", initial=rows_of(principal.limits[0]))
    made: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid() and grants.is_valid():
        made = _make_token(request, form, grants)
        if made:
            form, grants = NewToken(), Grants(prefix="grants", initial=rows_of(principal.limits[0]))
    manages = may(principal, Permission.MANAGE)
    rows = Token.objects.select_related("owner").prefetch_related("grants").order_by("name")
    rows = rows if manages else rows.filter(owner_id=principal.user_id)
    context = {
        "tokens": [shown_token(row) for row in rows],
        "now": services().clock.now(),
        "manages": manages,
        "form": form,
        "grants": grants,
        **made,
    }
    return render(request, "people/tokens.html", context, status=_status(form, grants))


@require_POST
@needs(Permission.VIEW)
def revoke(request: HttpRequest, *, name: str) -> HttpResponse:
    """Make a token invalid."""
    principal = principal_of(request)
    try:
        check_owner(principal, name)
        tokens.delete(name, actor=principal.name, now=services().clock.now())
    except RollwaveError as error:
        messages.error(request, told(error))
    else:
        messages.success(request, _("Token %(name)s is not valid any more.") % {"name": name})
    return redirect("people:tokens")


@require_safe
@needs(Permission.MANAGE, everywhere)
def verification(request: HttpRequest) -> HttpResponse:
    """Look through the whole audit log: whether an entry was changed, dropped or inserted."""
    head = request.GET.get("head", "").strip()
    context: dict[str, Any] = {"head": head}
    try:
        context["verdict"] = look(head or None)
    except RollwaveError as error:
        context["wrong"] = told(error)
    return render(request, "people/verification.html", context, status=_UNPROCESSABLE if "wrong" in context else 200)


def _make_token(request: HttpRequest, form: Any, grants: Any) -> dict[str, Any]:
    """Return the new token; nothing, and an error in the form, where it could not be made."""
    now = services().clock.now()
    given = grants_in(grants)
    if not given:
        form.add_error(None, _("A token needs at least one role."))
        return {}
    expires_at = form.expires_at(now)
    if expires_at is not None and expires_at <= now:
        form.add_error("until", _("It has to be a time to come."))
        return {}
    maker = principal_of(request)
    try:
        owner = accounts.owner_of_token(maker, form.cleaned_data["owner"].strip() or None)
    except RollwaveError as error:
        form.add_error("owner", told(error))
        return {}
    try:
        row, value = tokens.make(
            form.cleaned_data["name"],
            maker=maker,
            owner=owner,
            grants=given,
            now=now,
            expires_at=expires_at,
        )
    except RollwaveError as error:
        form.add_error(None, told(error))
        return {}
    return {"made": shown_token(row), "value": value}


def _invited(request: HttpRequest, user: Any) -> HttpResponse:
    path = accounts.invitation(user, maker=principal_of(request), now=services().clock.now())
    link = request.build_absolute_uri(path)
    return render(request, "people/invited.html", {"person": shown_user(user), "link": link})


def _user(name: str) -> Any:
    try:
        return accounts.find(name)
    except NotFoundError as error:
        raise Http404(told(error)) from error


def _has_password(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_usable_password())


def _status(*forms: Any) -> int:
    return _UNPROCESSABLE if any(form.is_bound and not form.is_valid() for form in forms) else 200
