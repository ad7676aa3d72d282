"""The data directory: one owner at a time, and an endpoint as long as somebody listens."""

from __future__ import annotations

import os
import stat

import pytest

from rollwave.web.data_dir import DataDir, DataDirBusyError


def test_it_is_its_owners_alone(tmp_path):
    place = DataDir(tmp_path / "a" / "b")

    assert stat.S_IMODE(place.path.stat().st_mode) == 0o700


def test_a_second_owner_is_refused_and_told_who_is_first(tmp_path):
    first, second = DataDir(tmp_path), DataDir(tmp_path)

    with first.owned(), pytest.raises(DataDirBusyError) as refused, second.owned():
        pass

    assert refused.value.facts["pid"] == str(os.getpid())
    with second.owned():
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_endpoint_is_there_as_long_as_the_server(tmp_path):
    place = DataDir(tmp_path)

    with place.endpoint("http://127.0.0.1:1"):
        assert (tmp_path / "endpoint").read_text() == "http://127.0.0.1:1\n"

    assert not (tmp_path / "endpoint").exists()
