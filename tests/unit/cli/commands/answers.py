"""What an API says where everything goes well."""

CHANGES = [
    {"action": "create", "kind": "app", "name": "shop", "changes": {}},
    {
        "action": "update",
        "kind": "group",
        "name": "shop-prod",
        "changes": {"config": {"from": {"canary_count": 1}, "to": {"canary_count": 2}}},
    },
    {"action": "unchanged", "kind": "server", "name": "web-01", "changes": {}},
]
PLAN = {
    "group": "shop-prod",
    "app": "shop",
    "kind": "rollout",
    "goal_version": "1.4.2",
    "previous_version": "1.4.1",
    "config": {"max_unavailable_percent": 50, "prestage": True},
    "initial": False,
    "eligible_count": 3,
    "limit_count": 1,
    "canaries": ["shop-prod/web-01:8080"],
    "batches": [
        {"number": 1, "canary": True, "pause_s": 0, "sites": {"fra": 1}, "instances": ["shop-prod/web-01:8080"]},
        {
            "number": 2,
            "canary": False,
            "pause_s": 30,
            "sites": {"fra": 1, "iad": 1},
            "instances": ["shop-prod/web-02:8080", "shop-prod/web-03:8080"],
        },
    ],
    "excluded": [{"instance": "shop-prod/web-04:8080", "reasons": ["hold"]}],
    "sites": {"fra": 2, "iad": 1},
    "eta_s": 95.0,
    "active_deployment": None,
}
INSTANCE = {
    "name": "shop-prod/web-01:8080",
    "group": "shop-prod",
    "site": "default",
    "hold": True,
    "hold_reason": "disk",
    "raised": [{"flag": "hold", "actor": "maria", "reason": "disk", "deployment": None}],
    "in_traffic": False,
    "out_reasons": ["hold"],
    "version": "1.4.1",
}
SERVER = {"name": "web-01", "address": "127.0.0.1", "site": "default", "offline": True, "instance_count": 1}
PACKAGE = {
    "app": "shop",
    "version": "1.4.2",
    "sha256": "ab" * 32,
    "size": 4096,
    "unpacked_size": 9000,
    "file_count": 3,
    "key_id": "0011223344556677",
    "pushed_at": "2026-01-01T12:00:00Z",
    "pushed_by": "maria",
    "provenance": {"commit": "c0ffee"},
}
TOKEN = {
    "name": "ci",
    "owner": "maria",
    "roles": ["operator:shop"],
    "created_at": "2026-01-01T12:00:00Z",
    "expires_at": None,
    "last_used_at": None,
}
USER = {
    "name": "maria",
    "full_name": "Maria Muster",
    "email": "",
    "active": True,
    "roles": ["operator:shop"],
    "group_roles": [],
    "joined_at": "2026-01-01T12:00:00Z",
    "last_signed_in_at": None,
}
AUDIT = {
    "at": "2026-01-01T12:00:00Z",
    "actor": "maria",
    "action": "deployment.brake",
    "subject": "deployment/12",
    "group": "shop-prod",
    "reason": "",
    "sentence": "maria asked for brake",
    "data": {},
}
GROUP = {
    "name": "shop-prod",
    "app": "shop",
    "environment": "production",
    "instance_count": 3,
    "in_traffic_count": 2,
    "versions": {"1.4.1": 3},
    "active_deployment": 12,
}
SUBSCRIPTION = {
    "name": "chat",
    "channel": "slack",
    "address": "https://hooks.slack.com",
    "person": None,
    "language": "en",
    "topics": ["braked", "failed"],
    "groups": [],
    "apps": ["shop"],
    "environments": [],
    "enabled": True,
    "disabled_reason": "",
    "failures": 2,
    "failing_since": "2026-01-01T12:00:00Z",
    "last_error": "status 500",
    "delivered_at": None,
}
DELIVERY = {
    "id": 1,
    "message_id": "test_1",
    "deployment": None,
    "first_seq": 0,
    "until_seq": 0,
    "events": 0,
    "attempt": 1,
    "at": "2026-01-01T12:00:00Z",
    "took_ms": 12,
    "arrived": True,
    "said": "status 200",
}
