"""The Django project: settings, API, and later the portal."""
