from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from demo.services import RabbitMQ, Redis
from tests.contract.notify import receivers
from tests.needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICES = {"amqp": RabbitMQ, "redis": Redis}
SIMPLE = {
    "fake": receivers.Fake,
    "webhook": receivers.SignedWebhook,
    "dingtalk": receivers.DingTalk,
    "wecom": receivers.WeCom,
    "feishu": receivers.Feishu,
    "slack": receivers.Slack,
    "email": receivers.Mail,
}


@pytest.fixture(scope="session")
def services(tmp_path_factory) -> Iterator[Callable[[str], str]]:
    """Starts a service when a test wants it first; returns its URL."""
    running: dict[str, object] = {}
    with ExitStack() as stack:

        def url_of(name: str) -> str:
            kind = SERVICES[name]
            needs(kind)
            if name not in running:
                running[name] = stack.enter_context(kind(tmp_path_factory.mktemp(name)))
            return running[name].url

        yield url_of


@pytest.fixture
def receiver(request) -> Iterator[receivers.Receiver]:
    name = request.param
    if name in SIMPLE:
        made: receivers.Receiver = SIMPLE[name]()
    else:
        url = request.getfixturevalue("services")(name)
        made = receivers.Exchange(url) if name == "amqp" else receivers.Stream(url)
    yield made
    made.close()
