"""Addresses of the portal."""

from __future__ import annotations

from django.urls import include, path
from django.views.i18n import set_language

from rollwave.web.portal import (
    audit,
    fleet,
    history,
    notifications,
    overview,
    package_upload,
    packages,
    search,
    settings,
    spec,
    starting,
    theme,
)

app_name = "portal"

urlpatterns = [
    path("", overview.show, name="overview"),
    path("deployments", history.show, name="deployments"),
    path("deployments/new", starting.show, name="start"),
    path("deployments/compare", history.compare, name="compare"),
    path("deployments/<int:deployment_id>", include("rollwave.web.portal.release_urls")),
    path("fleet", fleet.show, name="fleet"),
    path("fleet/spec", spec.show, name="spec"),
    path("fleet/spec/changes", spec.change, name="spec-change"),
    path("fleet/spec.yaml", spec.download, name="spec-file"),
    path("apps/<str:name>", fleet.show_app, name="app"),
    path("groups/<str:name>", fleet.show_group, name="group"),
    path("groups/<str:name>/hold", fleet.hold, name="hold"),
    path("servers", fleet.show_servers, name="servers"),
    path("servers/<str:name>", fleet.show_server, name="server"),
    path("servers/<str:name>/check", fleet.check_server, name="server-check"),
    path("servers/<str:name>/switch", fleet.switch, name="server-switch"),
    path("packages", packages.show, name="packages"),
    path("packages/new", package_upload.show, name="package-new"),
    path("packages/<str:app>/<str:version>", packages.show_one, name="package"),
    path("audit", audit.show, name="audit"),
    path("settings", settings.show, name="settings"),
    path("notifications", notifications.show, name="notifications"),
    path("notifications/<str:name>", notifications.show_one, name="notification"),
    path("notifications/<str:name>/test", notifications.test, name="notification-test"),
    path("notifications/<str:name>/removal", notifications.remove, name="notification-removal"),
    path("search", search.show, name="search"),
    path("preferences/theme", theme.choose, name="theme"),
    path("preferences/language", set_language, name="language"),
]
