"""Settings of channels: what can be used is kept whole; what cannot is told by its field, and without a secret."""

from __future__ import annotations

import pytest

from rollwave.notify.config import from_sealed, read_config, sealed_form
from rollwave.notify.text import shortened

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RIGHT = {
    "webhook": ({"url": "https://u:p@hooks.example:8443/a?b=c", "secret": SECRET}, "https://hooks.example:8443"),
    "dingtalk": ({"url": "https://oapi.dingtalk.com/robot/send?access_token=t"}, "https://oapi.dingtalk.com"),
    "feishu": ({"url": "https://open.feishu.cn/open-apis/bot/v2/hook/t", "secret": "x"}, "https://open.feishu.cn"),
    "wecom": ({"url": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=t"}, "https://qyapi.weixin.qq.com"),
    "slack": ({"url": "https://hooks.slack.com/services/T/B/x"}, "https://hooks.slack.com"),
    "email": ({"to": ["ann@example.com", "bob@example.com"]}, "ann@example.com, bob@example.com"),
    "amqp": ({"url": "amqp://u:p@mq.example:5672/v"}, "amqp://mq.example:5672 rollwave"),
    "redis": ({"url": "rediss://:p@redis.example/0", "stream": "s"}, "rediss://redis.example s"),
}


@pytest.mark.parametrize(("kind", "case"), RIGHT.items())
def test_settings_are_kept_whole_and_shown_without_what_is_secret(kind, case):
    given, address = case
    config = read_config(kind, given)
    assert from_sealed(sealed_form(config)) == config
    assert config.address == address


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        ("webhook", {"url": "ftp://x/", "secret": SECRET}, "url is expected as https://"),
        ("webhook", {"url": "https://", "secret": SECRET}, "url is expected"),
        ("webhook", {"url": "https://x:99999999/", "secret": SECRET}, "url is expected"),
        ("webhook", {"url": "https://x/ y", "secret": SECRET}, "url is expected"),
        ("webhook", {"url": "https://x/", "secret": "short"}, "secret is expected"),
        ("webhook", {"url": "https://x/", "secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ("webhook", {"url": "https://x/"}, "secret is missing"),
        ("slack", {"url": "https://x/", "colour": "red"}, "colour is not a known key"),
        ("email", {"to": []}, "to is expected"),
        ("email", {"to": ["ann"]}, "ann@example.com"),
        ("email", {"to": ["a@b\nBcc: c@d"]}, "to is expected"),
        ("amqp", {"url": "http://x/"}, "amqp://"),
        ("redis", {"url": "redis://x", "maxlen": 0}, "at least 1"),
        ("pigeon", {}, "pigeon"),
    ],
)
def test_what_cannot_be_used_is_told(kind, given, reason):
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        read_config(kind, given)


def test_what_does_not_fit_is_cut_at_its_beginning():
    assert shortened(("a", "b"), most_bytes=100) == ["a", "b"]
    assert shortened(("a" * 90, "b"), most_bytes=50) == ["…", "b"]
    assert shortened(("x" * 900,), most_bytes=1000) == ["x" * 499 + "…"]
