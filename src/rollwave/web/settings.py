"""
Django settings. One variable places everything: ``ROLLWAVE_DATA``, the data directory.

The database is the one that ``rollwave.toml`` names there, or ``ROLLWAVE_DATABASE_URL``; else SQLite beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

from rollwave.settings_file import SETTINGS_NAME, read_settings
from rollwave.web.database import database

DATA_DIR = Path(os.environ.get("ROLLWAVE_DATA", ".rollwave")).absolute()

DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
ALLOWED_HOSTS = ["*"]  # bound to a loopback address by default; the token is what admits
ROOT_URLCONF = "rollwave.web.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["rollwave.store"]
MIDDLEWARE = [
    "rollwave.web.request_lines.request_lines",
    "django.middleware.security.SecurityMiddleware",
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
