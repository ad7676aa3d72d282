"""What the demo tells machines, however it ends."""

from __future__ import annotations

import json

import pytest

import demo.__main__ as program
from demo.processes import LabError

KEYS = {
    "ok",
    "requests_sent",
    "requests_failed",
    "recovery_s",
    "rollback_s",
    "out_of_traffic_s_p50",
    "wrong",
    "broker",
}


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(LabError("caddy did not come up, see its log"), "caddy did not come up"), (KeyboardInterrupt(), "stopped")],
)
def test_a_demo_that_fails_prints_the_same_object(monkeypatch, capsys, trouble, said):
    """Every key is there, `ok` is false, and `wrong` says why; nothing that was not measured has a figure."""

    class Lab(program.Lab):
        def start(self) -> None:
            raise trouble

    monkeypatch.setattr(program, "Lab", Lab)
    monkeypatch.setattr("sys.argv", ["demo", "--json"])
    monkeypatch.setattr("signal.signal", lambda *_: None)

    assert program.main() == 1

    out = capsys.readouterr().out
    result = json.loads(out)
    assert out.count("\n") == 1
    assert result.keys() >= KEYS
    assert (result["ok"], result["requests_sent"], result["recovery_s"], result["rollback_s"]) == (False, 0, None, None)
    assert said in result["wrong"][0]
