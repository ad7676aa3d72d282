"""Django's view of the store."""

from django.apps import AppConfig


class StoreConfig(AppConfig):
    """Tables of the release engine and of what it releases."""

    name = "rollwave.store"
    label = "store"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Rollwave store"
