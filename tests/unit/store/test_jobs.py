"""Laws of what a worker is told of an instance."""

from __future__ import annotations

from rollwave.store.jobs import deploy_path, member_of
from rollwave.store.models import App, Group, Instance, Server


def instance_of(path: str) -> Instance:
    group = Group(app=App(name="shop"), name="shop-eu", deploy_path=path, pool="web")
    return Instance(group=group, server=Server(name="s1", address="10.0.0.1"), port=8080)


def test_a_deploy_path_is_filled_in():
    """Every placeholder, as often as it is there."""
    assert deploy_path(instance_of("/srv/{app}/{group}/{server}-{port}/{port}")) == "/srv/shop/shop-eu/s1-8080/8080"


def test_other_braces_in_a_deploy_path_stay():
    """It is a path, not a template language."""
    assert deploy_path(instance_of("/srv/{x}/{}/{port.real}/{{app}}")) == "/srv/{x}/{}/{port.real}/{shop}"


def test_an_instance_has_one_name_everywhere():
    """For its host, its balancer and the people who look at it."""
    instance = instance_of("/srv")
    member = member_of(instance)

    assert instance.name == member.name == "shop-eu/s1:8080"
    assert (member.pool, member.address, member.port) == ("web", "10.0.0.1", 8080)
