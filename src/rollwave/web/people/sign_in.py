"""Signing in and out: by password, by invitation, and the very first time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model, login, views
from django.contrib.auth.forms import BaseUserCreationForm
from django.core.validators import RegexValidator
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse_lazy
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from rollwave.web import origin
from rollwave.web.access import principal_of_user
from rollwave.web.context import services
from rollwave.web.data_dir import welcome_file
from rollwave.web.people import accounts
from rollwave.web.refusals import NameTakenError
from rollwave.web.told import told

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

PASSWORDS = "django.contrib.auth.backends.ModelBackend"


class SignIn(views.LoginView):
    """Sign in with a name and a password; ten wrong ones are enough for a while."""

    template_name = "people/sign_in.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the page shows."""
        label = settings.SETTINGS.sso.label if settings.SETTINGS.sso.issuer else None
        return super().get_context_data(**kwargs, sso_label=label)

    def form_valid(self, form: Any) -> HttpResponse:
        """Begin a session of its own: none that somebody may have planted goes on."""
        response = super().form_valid(form)
        note_sign_in(self.request, form.get_user(), how="password")
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        """Say that it was wrong, not what of it; or that it is enough for now."""
        is_locked = getattr(self.request, "axes_locked_out", False)
        if is_locked:
            form.errors.clear()
            form.add_error(None, _("Too many attempts. Try again in a quarter of an hour."))
        user = get_user_model().objects.filter(username=form.data.get("username", "")).first()
        # Of names that are nobody's nothing is kept: a password typed into the wrong field is one.
        if user is not None and not is_locked:
            origin.note(self.request)
            now = services().clock.now()
            accounts.log("sign_in_failed", user, actor=user.get_username(), now=now)
        response = super().form_invalid(form)
        response.status_code = 429 if is_locked else 422
        return response


def note_sign_in(request: HttpRequest, user: Any, *, how: str) -> None:
    """Let the audit log know who signed in, and from where."""
    origin.note(request)
    # Nobody else would: sessions that ran out are of no use, and there are as many as there were sign-ins.
    request.session.clear_expired()
    accounts.log("signed_in", user, actor=user.get_username(), now=services().clock.now(), how=how)


class SignOut(views.LogoutView):
    """Sign out: the session is over, here and on the server."""

    next_page = "/login"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """End the session."""
        if principal_of_user(request.user) is not None:
            origin.note(request)
            name = request.user.get_username()
            accounts.log("signed_out", request.user, actor=name, now=services().clock.now())  # type: ignore[arg-type]
        return super().post(request, *args, **kwargs)


class Invitation(views.PasswordResetConfirmView):
    """Choose a password by the link that whoever made the account passed on."""

    template_name = "people/invitation.html"
    post_reset_login = True
    post_reset_login_backend = PASSWORDS
    success_url = reverse_lazy("portal:overview")

    def form_valid(self, form: Any) -> HttpResponse:
        """Keep the password, and begin a session."""
        response = super().form_valid(form)
        origin.note(self.request)
        now = services().clock.now()
        accounts.log("password_set", self.user, actor=self.user.get_username(), now=now)
        return response


class Password(views.PasswordChangeView):
    """Change one's own password; all other sessions end."""

    template_name = "people/password.html"
    success_url = reverse_lazy("people:account")

    def form_valid(self, form: Any) -> HttpResponse:
        """Keep the password."""
        response = super().form_valid(form)
        user: Any = self.request.user
        accounts.log("password_set", user, actor=user.get_username(), now=services().clock.now())
        return response


class FirstAccount(BaseUserCreationForm):  # type: ignore[type-arg]
    """The name and the password of the first person."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        message = gettext_lazy("Letters, digits and . _ @ - only.")
        self.fields["username"].validators = [RegexValidator(r"\A[A-Za-z0-9][A-Za-z0-9._@-]{0,99}\Z", message)]
        self.fields["username"].label = gettext_lazy("Name")


def welcome(request: HttpRequest, code: str) -> HttpResponseBase:
    """Make the first account, which may do everything; for whoever can read the data directory or the server's log."""
    file = welcome_file(settings.DATA_DIR)
    if not file.exists() or not constant_time_compare(file.read_text().strip(), code):
        raise Http404
    form = FirstAccount(request.POST or None)
    if request.method == "POST" and form.is_valid():
        origin.note(request)
        data = form.cleaned_data
        try:
            user = accounts.add_first(data["username"], data["password1"], now=services().clock.now())
        except NameTakenError as error:
            form.add_error("username", told(error))
            return render(request, "people/welcome.html", {"form": form}, status=422)
        file.unlink(missing_ok=True)
        if user is None:
            return HttpResponseRedirect("/login")
        login(request, user, backend=PASSWORDS)
        note_sign_in(request, user, how="first account")
        return HttpResponseRedirect("/")
    return render(request, "people/welcome.html", {"form": form}, status=422 if form.errors else 200)
