"""Addresses of the page of one release, of its live data and of what can be done there."""

from __future__ import annotations

from django.urls import path

from rollwave.web.portal import live, release, steering

urlpatterns = [
    path("", release.show, name="release"),
    path("/snapshot", live.snapshot, name="release_snapshot"),
    path("/events", live.events, name="release_events"),
    path("/names", live.names, name="release_names"),
    path("/panels", release.panels, name="release_panels"),
    path("/charts", release.chart, name="release_charts"),
    path("/table", release.table, name="release_table"),
    path("/targets/<int:position>", release.target, name="release_target"),
    # Whoever may approve need not be one who may operate.
    path("/ask/approve", steering.ask_approval, name="release_ask_approval"),
    path("/actions/approve", steering.approve, name="release_approve"),
    path("/ask/<str:verb>", steering.ask, name="release_ask"),
    path("/actions/<str:verb>", steering.act, name="release_act"),
]
