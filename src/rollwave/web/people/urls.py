"""Addresses of the pages about people."""

from __future__ import annotations

from django.urls import path

from rollwave.web.access import Permission, needs
from rollwave.web.people import pages, sessions, sign_in, sso

app_name = "people"

urlpatterns = [
    path("login", sign_in.SignIn.as_view(), name="login"),
    path("logout", sign_in.SignOut.as_view(), name="logout"),
    path("welcome/<str:code>", sign_in.welcome, name="welcome"),
    path("invitation/<uidb64>/<token>", sign_in.Invitation.as_view(), name="invitation"),
    path("sso", sso.start, name="sso"),
    path("sso/callback", sso.callback, name="sso_callback"),
    path("account", pages.account, name="account"),
    path("account/sessions/<str:mark>/end", sessions.end, name="session-end"),
    path("account/password", needs(Permission.VIEW)(sign_in.Password.as_view()), name="password"),
    path("users", pages.users, name="users"),
    path("users/<str:name>", pages.user, name="user"),
    path("users/<str:name>/invitation", pages.invite, name="invite"),
    path("users/<str:name>/removal", pages.remove, name="remove"),
    path("audit/verification", pages.verification, name="verification"),
    path("tokens", pages.token_list, name="tokens"),
    path("tokens/<str:name>/revocation", pages.revoke, name="revoke"),
]
