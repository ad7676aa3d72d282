"""Lists of other tools: what is read from them, and what is refused."""

from __future__ import annotations

import json
import re

import pytest

from rollwave.cli.inventory import Found, InventoryError, read_inventory, to_spec, to_yaml
from rollwave.spec_file import read_spec

INI = """
mail.example.com   ; alone

[web]
web[01:03].example.com ansible_port=2222
one ansible_host=10.0.0.7 rollwave_site=berlin note="two words"  # a comment

[db]
db-[a:b]

[prod:children]
web
db

[prod:vars]
ansible_user=deploy
"""

YAML = """
all:
  hosts:
    mail.example.com:
  children:
    web:
      hosts:
        web[01:03].example.com: {ansible_port: 2222}
        one:
          ansible_host: 10.0.0.7
          rollwave_site: berlin
    prod:
      children:
        web:
        db:
          hosts:
            db-[a:b]:
"""

LISTED = json.dumps(
    {
        "_meta": {"hostvars": {"one": {"ansible_host": "10.0.0.7", "rollwave_site": "berlin"}}},
        "all": {"children": ["ungrouped", "prod"]},
        "ungrouped": {"hosts": ["mail.example.com"]},
        "prod": {"children": ["web", "db"]},
        "web": {"hosts": ["web01.example.com", "web02.example.com", "web03.example.com", "one"]},
        "db": {"hosts": ["db-a", "db-b"]},
    }
)

SSH = """
Include conf.d/*
Host *
    User deploy
Host web1 web2 !web3 db-?
    HostName=%h.example.com
Host mail
    hostname 10.0.0.9   # the old one
    HostName 10.0.0.10
Match host other
    HostName 10.0.0.11
"""


def same(*names: str) -> list[Found]:
    return [Found(name=name, address=name) for name in names]


ONE = Found(name="one", address="10.0.0.7", site="berlin")
WEB = [*same("web01.example.com", "web02.example.com", "web03.example.com"), ONE]


@pytest.mark.parametrize("text", [INI, YAML, LISTED], ids=["ini", "yaml", "list"])
def test_ansible_inventories_say_the_same_in_every_form(text: str) -> None:
    """Ranges, variables, groups of groups: INI, YAML and the output of ansible-inventory mean the same hosts."""
    everybody = read_inventory(text, kind="ansible").servers

    assert sorted(one.name for one in everybody) == sorted(
        one.name for one in [*WEB, *same("db-a", "db-b", "mail.example.com")]
    )
    assert ONE in everybody
    assert read_inventory(text, kind="ansible", group="web").servers == WEB
    assert read_inventory(text, kind="ansible", group="prod").servers == [*WEB, *same("db-a", "db-b")]
    with pytest.raises(InventoryError, match=r"no group 'nobody'; groups: .*web"):
        read_inventory(text, kind="ansible", group="nobody")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("web1:2222 ansible_host=10.0.0.1\nweb[2:3]:2223\n[db]\ndb1\n", ["web1", "web2", "web3", "db1"]),
        ('{"web": {"hosts": ["a", "b"], "vars": {"x": 1}}, "all": {"children": ["web"]}}', ["a", "b"]),
        ('{"web": ["a"], "db": {"hosts": ["b"]}}', ["a", "b"]),
        ("all:\n  hosts:\n    web1:2222:\n      ansible_host: 10.0.0.1\n", ["web1"]),
    ],
    ids=["ports", "a script without _meta", "lists alone", "a port in YAML"],
)
def test_everybody_is_in_the_group_all(text: str, names: list[str]) -> None:
    """Whether it is written down or not, and in every form that Ansible takes."""
    for group in (None, "all"):
        read = read_inventory(text, kind="ansible", group=group)

        assert [one.name for one in read.servers] == names


def test_the_port_of_an_ansible_host_is_no_part_of_its_name() -> None:
    (one,) = read_inventory("web1:2222 ansible_host=10.0.0.1", kind="ansible").servers

    assert one == Found(name="web1", address="10.0.0.1")
    assert one.way == {"port": "2222"}


def test_what_a_group_says_counts_for_its_hosts_and_what_is_nearer_counts_more() -> None:
    text = (
        "[web]\na\nb rollwave_site=rome\n[eu:children]\nweb\n[eu]\nc\n"
        "[all:vars]\nrollwave_site=nowhere\n[eu:vars]\nrollwave_site = 'berlin'\n[web:vars]\nrollwave_site=oslo\n[x]\nd"
    )

    sites = {one.name: one.site for one in read_inventory(text, kind="ansible").servers}

    assert sites == {"a": "oslo", "b": "rome", "c": "berlin", "d": "nowhere"}


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("ansible", INI, ["port 2222 of web01.example.com, web02", "user deploy of .* and 3 more"]),
        ("ansible", "a ansible_ssh_common_args='-o ProxyJump=b' ansible_port=22", ["jump -o ProxyJump=b of a;"]),
        (
            "ssh",
            "Host a\n Port 2222\n ProxyJump bastion\nHost *\n User deploy\n Port 22",
            ["port 2222", "user deploy", "jump"],
        ),
        (
            "ssh",
            "User deploy\nHost a\n User root\n ProxyJump none\n IdentityFile ~/.ssh/k",
            ["user deploy", "identity ~"],
        ),
        ("csv", "name\na\n", []),
    ],
)
def test_how_a_server_is_reached_is_told_as_left_out_with_its_place(kind: str, text: str, told: list[str]) -> None:
    """A spec has no place for it: it is a setting of the executor."""
    notes = read_inventory(text, kind=kind).notes

    assert len(notes) == len(told)
    for note in notes:
        assert any(re.search(f"left out: {one}", note) for one in told), note
        assert "[executors.NAME] of rollwave.toml" in note


def test_ssh_names_hosts_and_not_patterns() -> None:
    """Who has a name of its own is a server; the first HostName counts, as it does for ssh."""
    assert read_inventory(SSH, kind="ssh").servers == [
        Found(name="web1", address="web1.example.com"),
        Found(name="web2", address="web2.example.com"),
        Found(name="mail", address="10.0.0.9"),
    ]


def test_salt_gives_accepted_minions_alone() -> None:
    """Keys that nobody accepted are no servers."""
    text = json.dumps({"minions": ["a", "b"], "minions_pre": ["c"], "minions_rejected": ["d"], "local": ["master.pem"]})

    assert read_inventory(text, kind="salt").servers == same("a", "b")


def test_csv_is_read_by_its_header() -> None:
    """Columns have any order and case; what is not given has its default; empty lines are none."""
    text = "\ufeffSite, Name,Address,rack\nberlin,a,10.0.0.1,7\n\n,b,,\n"

    assert read_inventory(text, kind="csv").servers == [
        Found(name="a", address="10.0.0.1", site="berlin"),
        *same("b"),
    ]


def test_what_a_spec_would_refuse_is_left_out_and_told() -> None:
    """A name that no server can have, and a second address for the same name, are notes."""
    read = read_inventory("name,address\nä,1\na,2\na,3\na,2\n", kind="csv")

    assert read.servers == [Found(name="a", address="2")]
    assert [note.split(":")[0] for note in read.notes] == [
        "left out 'ä'",
        "a is there twice; its address is 2, as it came first",
    ]


def test_the_spec_is_one() -> None:
    """What is printed reads as a spec with these servers, whatever is in their fields."""
    servers = [Found(name="1", address='a"b: {}', site="x"), Found(name="no", address="::1")]

    assert read_spec(to_yaml(to_spec(servers, site="berlin"))).document == {
        "servers": [
            {"name": "1", "address": 'a"b: {}', "site": "x"},
            {"name": "no", "address": "::1", "site": "berlin"},
        ]
    }
    assert read_spec(to_yaml(to_spec([]))).document == {"servers": []}


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("ansible", "[web]\nweb[5:1]\n", "line 2: 'web.*upwards"),
        ("ansible", "[web]\nweb[0:999999]\n", "at most 100000"),
        ("ansible", "[web]\nweb[0:999][0:999]\n", "more than 100000"),
        ("ansible", "[web]\nweb[a:9]\n", "letter to letter"),
        ("ansible", 'x y="\n', "line 1"),
        ("ansible", "---\n- a\n", "mapping of groups"),
        ("ansible", "all:\n  hosts: [a]\n", r"all.hosts: expected a mapping"),
        ("ansible", "all: {\n", "not YAML"),
        ("salt", "minions: a", "salt-key --out json"),
        ("salt", '{"minions": {"a": 1}}', "salt-key --out json"),
        ("csv", "host\na\n", "name"),
        ("csv", "name\na,b\n", "line 2: more fields"),
        ("csv", "name,address\n,b\n", "line 2: no name"),
        ("ssh", 'Host "a\n', "line 1"),
    ],
)
def test_mistakes_name_their_place(kind: str, text: str, reason: str) -> None:
    """What cannot be read is an error that says where and what would be right."""
    with pytest.raises(InventoryError, match=reason):
        read_inventory(text, kind=kind)
