"""rollwave.toml: what it may say, and errors that name the key."""

from __future__ import annotations

import pytest

from rollwave.engine.effects import CALL_S
from rollwave.settings_file import (
    MIN_LEASE_S,
    CaddySettings,
    DrainFileSettings,
    Elbv2Settings,
    HaproxySettings,
    MetricsSettings,
    NginxSettings,
    SaltSettings,
    SettingsFile,
    SettingsInvalidError,
    SshSettings,
    read_settings,
)

ALL = """
[limits]
package_bytes = 1000
[engine]
lease_s = 5
parallel = 3
[log]
format = "json"
level = "warning"
[metrics]
port = 9100
[traces]
endpoint = "http://127.0.0.1:4318/v1/traces"
share = 0.1
[balancers.edge]
kind = "caddy"
admin = "http://127.0.0.1:2019"
[balancers.lb]
kind = "haproxy"
socket = "/run/haproxy.sock"
[balancers.lbs]
kind = "haproxy"
socket = ["/run/haproxy.sock", "10.0.0.2:9999"]
[balancers.page]
kind = "drain_file"
settle_s = 5
[balancers.aws]
kind = "elbv2"
region = "eu-central-1"
[balancers.local]
kind = "nginx"
reload = ["sudo", "-n", "/usr/bin/systemctl", "reload", "nginx"]
[executors.dc1]
kind = "ssh"
user = "deploy"
identity = "/etc/rollwave/id_ed25519"
sudo = ["sudo", "-n", "-u", "shop"]
[executors.dc2]
kind = "salt"
url = "https://salt:8000"
user = "rollwave"
minion_id = "{server}.example.com"
"""

SALT = "[executors.x]\nkind = 'salt'\nuser = 'r'\nurl = 'https://salt:8000'\n"


def test_without_a_file_there_are_defaults(tmp_path):
    assert read_settings(tmp_path / "rollwave.toml") == SettingsFile()


def test_the_environment_has_the_last_word_on_a_port(tmp_path, monkeypatch):
    """Processes of one machine share the file, and each has its own port."""
    path = tmp_path / "rollwave.toml"
    path.write_text('[metrics]\nhost = "10.0.0.1"\nport = 9100\n')
    monkeypatch.setenv("ROLLWAVE_METRICS_PORT", "9101")

    assert read_settings(path).metrics == MetricsSettings(host="10.0.0.1", port=9101)

    monkeypatch.setenv("ROLLWAVE_METRICS_PORT", "any")
    with pytest.raises(SettingsInvalidError) as refused:
        read_settings(path)
    assert refused.value.facts["key"] == "metrics.port"


def test_every_key_is_read(tmp_path):
    path = tmp_path / "rollwave.toml"
    path.write_text(ALL)

    settings = read_settings(path)

    assert (settings.limits.package_bytes, settings.engine.lease_s, settings.engine.parallel) == (1000, 5, 3)
    assert (settings.log.format, settings.log.level) == ("json", "warning")
    assert settings.metrics.port == 9100
    assert (settings.traces.endpoint, settings.traces.share) == ("http://127.0.0.1:4318/v1/traces", 0.1)
    assert settings.balancers == {
        "edge": CaddySettings(admin="http://127.0.0.1:2019"),
        "lb": HaproxySettings(socket="/run/haproxy.sock"),
        "lbs": HaproxySettings(socket=("/run/haproxy.sock", "10.0.0.2:9999")),
        "page": DrainFileSettings(settle_s=5),
        "aws": Elbv2Settings(region="eu-central-1"),
        "local": NginxSettings(reload=("sudo", "-n", "/usr/bin/systemctl", "reload", "nginx")),
    }
    assert settings.executors == {
        "dc1": SshSettings(user="deploy", identity="/etc/rollwave/id_ed25519", sudo=("sudo", "-n", "-u", "shop")),
        "dc2": SaltSettings(url="https://salt:8000", user="rollwave", minion_id="{server}.example.com"),
    }


def test_the_shortest_lease_leaves_time_for_a_call_to_a_balancer():
    """A worker calls a balancer only while its lease outlives the call: with less it would renew for ever instead."""
    assert MIN_LEASE_S >= CALL_S + 1


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("a = ", "", "Invalid value"),
        ("[balancer.x]\nkind = 'caddy'", "balancer", "did you mean 'balancers'?"),
        ("balancers = 3", "balancers", "expected a table"),
        ("[balancers.x]\nkind = 'haproxy'\nsocket = []", "balancers.x", "at least one HAProxy"),
        ("[executors.x]\nkind = 'telnet'", "executors.x.kind", "telnet"),
        ("[executors.local]\nkind = 'ssh'", "executors.local", "needs no table"),
        ("[executors.x]\nkind = 'ssh'\nport = 0", "executors.x", "from 1 to 65535"),
        ("[executors.x]\nkind = 'ssh'\nparallel = 0", "executors.x", "at least 1"),
        ("[executors.x]\nkind = 'ssh'\nconnect_timeout_s = 0", "executors.x", "above 0"),
        ("[executors.x]\nkind = 'ssh'\nsudo = 'yes'", "executors.x.sudo", "bool"),
        ("[executors.x]\nkind = 'salt'\nuser = 'r'", "executors.x", "url"),
        ("[executors.x]\nkind = 'salt'\nuser = 'r'\nurl = 'salt'", "executors.x", "is 'salt'"),
        (f"{SALT}minion_id = 'web'", "executors.x", "{server} once"),
        (f"{SALT}parallel = 0", "executors.x", "at least 1"),
        ("[balancers]\nx = 3", "balancers.x", "expected a table"),
        ("[balancers.x]\nkind = 'f5'", "balancers.x.kind", "f5"),
        ("[balancers.x]\nadmin = 'f5'", "balancers.x", "kind"),
        ("[balancers.x]\nkind = 'caddy'", "balancers.x", "admin"),
        ("[balancers.x]\nkind = 'caddy'\nadmin = 3", "balancers.x.admin", "Expected `str`"),
        ("[balancers.x]\nkind = 'caddy'\nadmin = ''\nport = 3", "balancers.x", "port"),
        ("[balancers.x]\nkind = 'nginx'\nstatus = '10.0.0.1:80'", "balancers.x", "127.0.0.1:PORT"),
        ("[balancers.x]\nkind = 'nginx'\nreload = []", "balancers.x", "lists of words"),
        ("[balancers.x]\nkind = 'http'\nurl = 'lb'\nsecret_file = 's'", "balancers.x", "https://HOST/PATH"),
        ("[log]\nlevel = 'loud'", "log.level", "loud"),
        ("[traces]\nshare = 2", "traces", "from 0 to 1"),
        ("[engine]\nlease_s = 3.5", "engine", "at least 4"),
    ],
)
def test_a_mistake_stops_the_start_and_names_its_key(tmp_path, text, key, reason):
    path = tmp_path / "rollwave.toml"
    path.write_text(text)

    with pytest.raises(SettingsInvalidError) as refused:
        read_settings(path)

    assert refused.value.facts["key"] == key
    assert reason in refused.value.message
    assert str(path) in refused.value.message
