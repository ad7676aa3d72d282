"""`token`."""

from __future__ import annotations


def test_a_new_token_gets_the_roles_that_were_asked_for(fleet, cli):
    """And no key that nobody asked for: the server fills in what is right."""
    cli("token", "create", "ci", "--role", "operator:shop/production")

    assert fleet.sent() == {"name": "ci", "roles": ["operator:shop/production"]}
