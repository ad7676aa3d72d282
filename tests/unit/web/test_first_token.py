"""The token of the first start: there is always a way in, and it is nobody's."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from rollwave.web import tokens


@pytest.mark.parametrize(
    ("users", "name"), [((), "admin"), (("Admin",), "admin-2"), (("admin", "ADMIN-2", "admin-4"), "admin-3")]
)
def test_the_first_token_has_the_name_of_no_user(django_database, tmp_path, users, name):
    """It acts by its own name, so it would act as somebody: also where all tokens are gone and people are there."""
    for one in users:
        get_user_model().objects.create_user(one)
    path = tmp_path / "token"

    assert tokens.make_first(path, now=timezone.now())

    principal = tokens.principal_of(path.read_text().strip(), now=timezone.now())
    assert (principal.name, principal.user_id) == (name, None)
    assert not tokens.make_first(path, now=timezone.now())
