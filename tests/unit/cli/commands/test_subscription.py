"""`subscription`."""

from __future__ import annotations

from rollwave.cli.exits import Exit
from tests.unit.cli.commands.answers import DELIVERY


def test_a_subscription_is_put_as_a_file_says_and_its_secret_is_shown_once(fleet, cli, tmp_path):
    file = tmp_path / "hook.yaml"
    file.write_text("channel: webhook\nsettings: {url: https://hooks.example/}\ntopics: [braked]\n")

    result = cli("subscription", "put", "chat", "-f", str(file))

    assert result.code == Exit.OK
    assert fleet.sent() == {
        "channel": "webhook",
        "settings": {"url": "https://hooks.example/"},
        "topics": ["braked"],
    }
    assert "whsec_new" in result.out
    assert cli("subscription", "put", "chat", "-f", str(tmp_path / "none.yaml")).code != Exit.OK
    file.write_text("topics: [braked")
    assert cli("subscription", "put", "chat", "-f", str(file)).code == Exit.USAGE


def test_a_test_that_does_not_arrive_fails(api, cli):
    api.on("POST", "subscriptions/chat/test", {**DELIVERY, "arrived": False, "said": "status 500"})
    result = cli("subscription", "test", "chat")
    assert result.code == 1
    assert "did not arrive: status 500" in result.out
