"""
How properties are searched: the same examples in every run, so that a red build means a change and not luck.

``HYPOTHESIS_PROFILE=search`` looks at new examples instead, more of them; what it finds is printed to be replayed.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True, suppress_health_check=QUIET)
settings.register_profile(
    "search", deadline=None, print_blob=True, suppress_health_check=QUIET, max_examples=1_000, stateful_step_count=100
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
