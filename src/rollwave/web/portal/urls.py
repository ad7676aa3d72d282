"""Addresses of the portal."""

from __future__ import annotations

from django.urls import path
from django.views.i18n import set_language

from rollwave.web.portal import overview, theme

app_name = "portal"

urlpatterns = [
    path("", overview.show, name="overview"),
    path("preferences/theme", theme.choose, name="theme"),
    path("preferences/language", set_language, name="language"),
]
