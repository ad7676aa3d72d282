"""
Django settings. One variable places everything: ``ROLLWAVE_DATA``, the data directory.

The database is the one that ``rollwave.toml`` names there, or ``ROLLWAVE_DATABASE_URL``; else SQLite beside it.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from rollwave.settings_file import SETTINGS_NAME, read_settings
from rollwave.web import static_files
from rollwave.web.database import database
from rollwave.web.secret_file import secret_in

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
DATA_DIR = Path(os.environ.get("ROLLWAVE_DATA", ".rollwave")).absolute()
SETTINGS = read_settings(DATA_DIR / SETTINGS_NAME)

DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
# Bound to a loopback address by default; once people are told one address, no other name is taken.
ALLOWED_HOSTS = [urlsplit(SETTINGS.web.url).hostname, *SETTINGS.web.hosts, *LOOPBACK] if SETTINGS.web.url else ["*"]
ROOT_URLCONF = "rollwave.web.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "rollwave.store",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "axes",
]
MIDDLEWARE = [
    "rollwave.web.request_lines.request_lines",
    "rollwave.web.headers.headers",
    "rollwave.web.static_files.static_files",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "rollwave.web.people.sessions.idle_sessions",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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

# All processes of an installation share both keys: through the data directory, or through the environment.
SECRET_KEY = os.environ.get("ROLLWAVE_SECRET_KEY") or secret_in(DATA_DIR / "secrets" / "session.key")
AUDIT_KEY = os.environ.get("ROLLWAVE_AUDIT_KEY") or secret_in(DATA_DIR / "secrets" / "audit.key")
# Guards what notifications need to reach others: addresses of chats, passwords of brokers.
NOTIFY_KEY = os.environ.get("ROLLWAVE_NOTIFY_KEY") or secret_in(DATA_DIR / "secrets" / "notify.key")

AUTHENTICATION_BACKENDS = [
    "rollwave.web.people.guessing.AddressLimit",
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "email")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "rollwave.web.people.guessing.ContextWords"},
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
PASSWORD_RESET_TIMEOUT = 24 * 3600  # an invitation is good for a day

# Ten wrong passwords for a name from an address are enough for a quarter of an hour.
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False
SILENCED_SYSTEM_CHECKS = ["axes.W002"]  # its middleware would answer for the sign-in, which answers by itself
AXES_DISABLE_ACCESS_LOG = True  # the audit log has it
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "rollwave.web.origin.address_of"

SESSION_COOKIE_NAME = "rollwave_session"
SESSION_COOKIE_AGE = SETTINGS.web.session_hours * 3600
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "rollwave_csrf"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_HEADER_NAME = "HTTP_X_CSRFTOKEN"
CSRF_TRUSTED_ORIGINS = [SETTINGS.web.url] if SETTINGS.web.url else []
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if SETTINGS.web.is_tls:
    SESSION_COOKIE_NAME = f"__Host-{SESSION_COOKIE_NAME}"
    CSRF_COOKIE_NAME = f"__Host-{CSRF_COOKIE_NAME}"
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SECURE_SSL_REDIRECT = True
    SECURE_SSL_HOST = urlsplit(SETTINGS.web.url).netloc
    # Probes come from the machine itself; and a token that was sent in the clear once is not saved by a redirect.
    SECURE_REDIRECT_EXEMPT = [r"^(health/|livez$|readyz$|metrics$|api/)"]

DATABASES = {"default": database(DATA_DIR, SETTINGS.database.url)}

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
