"""Laws of permissions: what nobody gave is denied; a list shows what may be read one by one; a token is held twice."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollwave.domain.errors import InvalidValueError
from rollwave.store import models
from rollwave.web import access
from rollwave.web.access import EVERY, Grant, Permission, Principal, Role, may, may_somewhere, within

APPS, ENVIRONMENTS = ("shop", "search"), ("production", "staging")

grants = st.builds(
    Grant,
    role=st.sampled_from(Role),
    app=st.sampled_from((*APPS, EVERY)),
    environment=st.sampled_from((*ENVIRONMENTS, EVERY)),
)
principals = st.builds(
    Principal,
    name=st.just("maria"),
    limits=st.lists(st.lists(grants, max_size=3).map(tuple), max_size=2).map(tuple),
)
permissions = st.sampled_from(Permission)
QUIET = settings(deadline=None, max_examples=150, derandomize=True)


@pytest.mark.parametrize("permission", Permission)
def test_what_nobody_gave_is_denied(permission):
    """No grant, no permission; nor where there is no set of grants at all."""
    for limits in ((), ((),), ((Grant(role=Role.ADMIN),), ())):
        principal = Principal(name="maria", limits=limits)
        assert not may_somewhere(principal, permission)
        assert not may(principal, permission, app="shop", environment="production")
        assert not may(principal, permission, app="shop", environment=None)


@given(principal=principals, more=st.lists(grants, max_size=3), permission=permissions)
@QUIET
def test_a_further_set_of_grants_only_takes_away(principal, more, permission):
    """A token may nothing that its owner may not, whatever it was given."""
    held = Principal(name="maria", limits=(*principal.limits, tuple(more)))
    for app in (*APPS, EVERY):
        for environment in (*ENVIRONMENTS, EVERY, None):
            if may(held, permission, app=app, environment=environment) and principal.limits:
                assert may(principal, permission, app=app, environment=environment)


@given(principal=principals, permission=permissions)
@QUIET
def test_whoever_may_everywhere_may_anywhere(principal, permission):
    """The other way round nothing follows."""
    if may(principal, permission):
        assert all(may(principal, permission, app=app, environment=one) for app in APPS for one in ENVIRONMENTS)
    if any(may(principal, permission, app=app, environment=one) for app in APPS for one in ENVIRONMENTS):
        assert may_somewhere(principal, permission)


@pytest.fixture
def groups(django_database):
    for app in APPS:
        row = models.App.objects.create(name=app)
        for environment in ENVIRONMENTS:
            models.Group.objects.create(
                app=row,
                name=f"{app}-{environment}",
                environment=environment,
                deploy_path="/srv",
                start=["a"],
                stop=["b"],
            )


@given(principal=principals, permission=permissions)
@settings(deadline=None, max_examples=80, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_shows_exactly_what_may_be_read_one_by_one(groups, principal, permission):
    """The condition for rows and the question for one place are the same rule, written twice."""
    listed = models.Group.objects.filter(
        within(principal, permission, app="app__name", environment="environment")
    ).values_list("app__name", "environment")
    apps = models.App.objects.filter(within(principal, permission, app="name")).values_list("name", flat=True)

    places = [(app, one) for app in APPS for one in ENVIRONMENTS]
    assert set(listed) == {one for one in places if may(principal, permission, app=one[0], environment=one[1])}
    reached = {app for app in APPS if may(principal, permission, app=app, environment=None)}
    assert set(apps) == reached


@given(grant=grants)
def test_a_grant_is_written_and_read(grant):
    """As people write it, everywhere the same."""
    assert access.from_text(access.to_text(grant)) == grant


@pytest.mark.parametrize("text", ["", "root", "admin:", "admin:/production", "viewer:shop/", "viewer:a/b/c", " viewer"])
def test_what_is_no_grant_is_told_so(text):
    """With what would be right."""
    with pytest.raises(InvalidValueError, match="ROLE:APP/ENVIRONMENT"):
        access.from_text(text)
