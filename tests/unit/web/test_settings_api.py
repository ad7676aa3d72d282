"""What anybody is shown of the settings."""

from __future__ import annotations

import pytest

from rollwave.web.api.settings import HIDDEN, _shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("password", "hunter2", HIDDEN),
        ("client_secret", "hunter2", HIDDEN),
        ("password", None, None),
        ("client_secret_file", "/etc/rollwave/secret", "/etc/rollwave/secret"),
        ("password_variable", "ROLLWAVE_SALT_PASSWORD", "ROLLWAVE_SALT_PASSWORD"),
        ("url", "postgresql://rw:hunter2@db:5432/rw", f"postgresql://rw:{HIDDEN}@db:5432/rw"),
        ("url", "redis://:hunter2@broker/0", f"redis://:{HIDDEN}@broker/0"),
        (
            "url",
            "postgresql://db/rw?user=rw&password=hunter2&sslmode=require",
            f"postgresql://db/rw?user=rw&password={HIDDEN}&sslmode=require",
        ),
        ("url", "amqp://rw@broker//", "amqp://rw@broker//"),
        ("url", "http://[broken", "http://[broken"),
        ("lease_s", 10.0, 10.0),
    ],
)
def test_no_secret_is_shown(name, value, shown):
    """Passwords and secrets are hidden wherever they stand; where a secret lies is none."""
    assert _shown(name, value) == shown
