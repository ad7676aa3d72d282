"""Laws of what a worker is told of an instance."""

from __future__ import annotations

from rollwave.store.jobs import deploy_path
from rollwave.store.models import App, Group


def path_of(template: str) -> str:
    group = Group(app=App(name="shop"), name="shop-eu", deploy_path=template)
    return deploy_path(group, server="s1", port=8080)


def test_a_deploy_path_is_filled_in():
    """Every placeholder, as often as it is there."""
    assert path_of("/srv/{app}/{group}/{server}-{port}/{port}") == "/srv/shop/shop-eu/s1-8080/8080"


def test_other_braces_in_a_deploy_path_stay():
    """It is a path, not a template language."""
    assert path_of("/srv/{x}/{}/{port.real}/{{app}}") == "/srv/{x}/{}/{port.real}/{shop}"
