"""Worlds say what they have to say through the oracle; the engine's own log would only be noise."""

import logging

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet_log():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
