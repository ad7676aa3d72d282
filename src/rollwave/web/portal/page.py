"""A page: who may see it, and what it says when something is wrong."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from rollwave.domain.errors import NotFoundError, RollwaveError
from rollwave.web import access
from rollwave.web.refusals import ForbiddenError
from rollwave.web.told import told
from rollwave.web.typed import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.http import HttpRequest, HttpResponse, HttpResponseBase

    from rollwave.web.access import Permission, Place

    Page = Callable[..., HttpResponseBase]

MOST_ROWS: Final = 100
"""Most rows of one page of a table."""


def page(permission: Permission, where: Callable[..., Iterable[Place]] = access.somewhere) -> Callable[[Page], Page]:
    """
    Return a decorator for a view that only reads: `access.needs`, and what is not there is a 404.

    Args:
        permission: What it takes.
        where: Tells from the page's parameters what it is about.
    """

    def decorate(view: Page) -> Page:
        @access.needs(permission, where)
        @wraps(view)
        def answer(request: HttpRequest, **parameters: Any) -> HttpResponseBase:
            try:
                return view(request, **parameters)
            except NotFoundError as error:
                raise Http404(told(error)) from error
            except ForbiddenError as error:
                raise PermissionDenied(told(error)) from error

        return answer

    return decorate


def attempt(request: HttpRequest, do: Callable[[], object], *, done: str) -> bool:
    """Do something for whoever asks and tell how it went, on the page that comes next; return whether it worked."""
    try:
        do()
    except RollwaveError as error:
        messages.error(request, told(error))
        return False
    messages.success(request, done)
    return True


def back(request: HttpRequest, otherwise: str) -> HttpResponse:
    """Return the redirect to where the form was: its field ``next``, if that is a page of ours."""
    wanted = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return HttpResponseRedirect(wanted if is_ours else otherwise)


def number_asked(request: HttpRequest, name: str, *, default: int = 1) -> int:
    """Return a whole number of the address; *default* where it is none, since addresses are edited by hand."""
    given = number(request.GET.get(name, ""))
    return default if given is None else max(1, given)


def trouble(request: HttpRequest, status: int, *, what: str = "") -> HttpResponse:
    """Return the page that says that something is not there, not allowed or broken."""
    title = {
        403: _("Not allowed"),
        404: _("There is no such page"),
        500: _("Something is broken here"),
    }.get(status, _("That did not work"))
    hint = {
        403: _("Ask an administrator of Rollwave for the role that this takes."),
        404: _("It may have been removed, or the address has a typing error."),
        500: _("It was logged. Releases are not touched by it."),
    }.get(status, "")
    return render(request, "portal/trouble.html", {"title": title, "what": what, "hint": hint}, status=status)
