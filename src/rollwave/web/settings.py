"""
Django settings. One variable places everything: ``ROLLWAVE_DATA``, the data directory.

The database is the one that ``rollwave.toml`` names there, or ``ROLLWAVE_DATABASE_URL``; else SQLite beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

from rollwave.settings_file import SETTINGS_NAME, read_settings
from rollwave.web import static_files
from rollwave.web.database import database

DATA_DIR = Path(os.environ.get("ROLLWAVE_DATA", ".rollwave")).absolute()

DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
ALLOWED_HOSTS = ["*"]  # bound to a loopback address by default; the token is what admits
ROOT_URLCONF = "rollwave.web.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "rollwave.store",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "rollwave.web.request_lines.request_lines",
    "rollwave.web.static_files.static_files",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "rollwave.web.methods.wrong_methods",
]
SECURE_CONTENT_TYPE_NOSNIFF = True
APPEND_SLASH = False
LOGGING_CONFIG = None  # rollwave.web.logs does it

# Bodies are bounded by rollwave.web.body_limit, before Django sees them; large ones go to the data directory's disk.
DATA_UPLOAD_MAX_MEMORY_SIZE = None
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# No sessions and no signed cookies yet: the key guards nothing, and Django wants one that is not empty.
SECRET_KEY = os.environ.get("ROLLWAVE_SECRET_KEY", "unused-until-there-are-sessions")

DATABASES = {"default": database(DATA_DIR, read_settings(DATA_DIR / SETTINGS_NAME).database.url)}

# The portal: its words, its files, its templates.
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LANGUAGE_COOKIE_NAME = "rollwave_language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
LOCALE_PATHS = [Path(__file__).parent / "locale"]
STATIC_URL = static_files.URL
STATIC_ROOT = static_files.root(DATA_DIR)
STATICFILES_DIRS = static_files.places()
STATICFILES_FINDERS = ["rollwave.web.static_files.Finder"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "rollwave.web.static_files.Storage"},
}
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
MESSAGE_TAGS = {20: "info", 25: "good", 30: "wait", 40: "bad"}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "rollwave.web.portal.frame.frame",
            ],
            "libraries": {"frame": "rollwave.web.portal.tags"},
            "builtins": [
                "django.templatetags.i18n",
                "django.templatetags.static",
                "lucide.templatetags.lucide",
                "rollwave.web.portal.tags",
            ],
        },
    },
]
