"""Users with roles, tokens with owners, approvals, and the audit log as a chain."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def chain(apps: Any, _schema_editor: Any) -> None:
    """What was logged before there was a chain is its beginning."""
    from rollwave.store import audit

    seq, code = 0, ""
    for row in apps.get_model("store", "AuditEntry").objects.order_by("at", "id"):
        seq += 1
        row.seq = seq
        row.code = code = audit.code_of(row, before=code)
        row.save(update_fields=["seq", "code"])
    if seq:
        head = apps.get_model("store", "AuditHead")
        head.objects.create(pk=1, seq=seq, code=code, seal=audit.seal_of(seq, code))


def keep_tokens_as_they_were(apps: Any, _schema_editor: Any) -> None:
    """Until now a token could do everything."""
    grant = apps.get_model("store", "Grant")
    for token in apps.get_model("store", "Token").objects.all():
        grant.objects.create(token=token, role="admin")


def short(length: int, **options: Any) -> Any:
    # The database fills it, too: a process that does not know the column yet goes on inserting rows.
    return models.CharField(max_length=length, blank=True, default="", db_default="", **options)


class Migration(migrations.Migration):
    contracts = "Who appends to the audit log has to know its chain; nothing was released before it had one."

    dependencies = [
        ("store", "0003_hot_tables"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField("deployment", "approved_by", short(150)),
        migrations.AddField(
            "token",
            "owner",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="tokens",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("role", models.CharField(max_length=20)),
                ("app", models.CharField(default="*", max_length=63)),
                ("environment", models.CharField(default="*", max_length=63)),
                (
                    "from_groups",
                    models.BooleanField(default=False, help_text="Given by single sign-on, and taken away by it."),
                ),
                (
                    "token",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="grants",
                        to="store.token",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="grants",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("token__isnull", True), ("user__isnull", False)),
                            models.Q(("token__isnull", False), ("user__isnull", True)),
                            _connector="OR",
                        ),
                        name="grant_has_one_holder",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Identity",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("issuer", models.CharField(max_length=300)),
                ("subject", models.CharField(max_length=255)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="identities",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("issuer", "subject"), name="one_user_per_identity")],
            },
        ),
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seq", models.PositiveBigIntegerField(default=0)),
                ("code", short(64)),
                ("seal", short(64)),
            ],
        ),
        migrations.AlterModelOptions(name="auditentry", options={"ordering": ["-seq"]}),
        migrations.AddField("auditentry", "seq", models.PositiveBigIntegerField(null=True)),
        migrations.AddField("auditentry", "token", short(150, help_text="The token that was used.")),
        migrations.AddField("auditentry", "app", short(63, db_index=True)),
        migrations.AddField("auditentry", "environment", short(63)),
        migrations.AddField("auditentry", "group", short(63, db_index=True)),
        migrations.AddField("auditentry", "address", short(64)),
        migrations.AddField("auditentry", "agent", short(200)),
        migrations.AddField("auditentry", "request_id", short(64)),
        migrations.AddField("auditentry", "code", models.CharField(max_length=64, default=""), preserve_default=False),
        migrations.RunPython(chain, migrations.RunPython.noop),
        migrations.RunPython(keep_tokens_as_they_were, migrations.RunPython.noop),
        migrations.AlterField(
            "auditentry",
            "seq",
            models.PositiveBigIntegerField(unique=True, help_text="Place in the chain, from 1 and without a gap."),
        ),
    ]
