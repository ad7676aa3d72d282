"""
Tables. What the domain knows as values is stored here as rows; the rules stay in the domain.

Facts that only the domain reads (batches, brake, settings) are JSON in the deployment's row; what is asked for by row
(targets, slices, events) has a table.
"""
# ruff: noqa: D106  # Django's Meta classes say nothing that the model does not

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models

from rollwave.domain.model import Course, Kind, Phase, Standing

if TYPE_CHECKING:
    from enum import Enum


def _choices(kind: type[Enum]) -> list[tuple[str, str]]:
    return [(member.value, member.value.replace("_", " ")) for member in kind]


FINAL_PHASES = [phase.value for phase in Phase if phase.is_final]
MOVING_STANDINGS = [Standing.IN_FLIGHT.value, Standing.VERIFIED.value]


class App(models.Model):
    """What is released."""

    name = models.CharField(max_length=63, unique=True)
    description = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Server(models.Model):
    """A machine; it can carry instances of several groups."""

    name = models.CharField(max_length=100, unique=True)
    address = models.CharField(max_length=255)
    site = models.CharField(max_length=63, default="default")
    offline = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Group(models.Model):
    """The instances of one app in one environment: the smallest unit of a release."""

    app = models.ForeignKey(App, on_delete=models.PROTECT, related_name="groups")
    name = models.CharField(max_length=63, unique=True)
    environment = models.CharField(max_length=63, default="production")
    deploy_path = models.CharField(
        max_length=500, help_text="Directory on the server; {server}, {port}, {app} and {group} are filled in."
    )
    health_path = models.CharField(max_length=200, default="/healthz")
    version_path = models.CharField(max_length=200, blank=True, default="")
    start = models.JSONField(help_text="Argument vector that starts the app through its supervisor.")
    stop = models.JSONField(help_text="Argument vector that stops it and returns when it is gone.")
    command_timeout_s = models.PositiveIntegerField(default=60)
    drain_timeout_s = models.PositiveIntegerField(default=30)
    keep_versions = models.PositiveIntegerField(default=5)
    executor = models.CharField(max_length=63, default="local")
    balancer = models.CharField(max_length=63, blank=True, default="")
    pool = models.CharField(max_length=200, blank=True, default="")
    canaries = models.JSONField(default=list, help_text="Names of servers that are preferred as canaries.")
    config = models.JSONField(
        default=dict, help_text="Settings of its deployments, where they differ from the default."
    )
    version = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Instance(models.Model):
    """One app on one server, with its traffic flags."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="instances")
    server = models.ForeignKey(Server, on_delete=models.PROTECT, related_name="instances")
    port = models.PositiveIntegerField()
    hold = models.BooleanField(default=False)
    hold_by = models.CharField(max_length=150, blank=True, default="")
    hold_reason = models.TextField(blank=True, default="")
    failed = models.BooleanField(default=False)
    new = models.BooleanField(default=True)
    version = models.CharField(max_length=100, null=True)  # noqa: DJ001  # null says unknown, which is not an empty name
    reserved_until = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["server", "port"], name="one_instance_per_server_and_port"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The instance's unique name."""
        return f"{self.group.name}/{self.server.name}:{self.port}"


class Package(models.Model):
    """An immutable, signed artefact of one version of one app; the archive itself lies in the package store."""

    app = models.ForeignKey(App, on_delete=models.PROTECT, related_name="packages")
    version = models.CharField(max_length=100)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    manifest = models.BinaryField()
    signature = models.BinaryField()
    key_id = models.CharField(max_length=16)
    url = models.CharField(max_length=1000)
    pushed_by = models.CharField(max_length=150)
    pushed_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["app", "version"], name="one_package_per_version"),
        ]

    def __str__(self) -> str:
        return f"{self.app.name} {self.version}"


class Deployment(models.Model):
    """One attempt to bring a group to a package."""

    group = models.ForeignKey(Group, on_delete=models.PROTECT, related_name="deployments")
    kind = models.CharField(max_length=20, choices=_choices(Kind))
    goal = models.ForeignKey(Package, on_delete=models.PROTECT, related_name="+")
    previous = models.ForeignKey(Package, on_delete=models.PROTECT, related_name="+", null=True)
    config = models.JSONField()
    initial = models.BooleanField()
    starts = models.BooleanField()
    phase = models.CharField(max_length=20, choices=_choices(Phase))
    brake = models.JSONField(null=True)
    abort = models.JSONField(null=True)
    batches = models.JSONField()
    last_slice = models.PositiveIntegerField(default=0)
    bake_due_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    followed_by = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="+")
    version = models.PositiveBigIntegerField(default=0)
    seq = models.PositiveBigIntegerField(default=0)
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True, default="")
    approved_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            # I5 is the database's to keep.
            models.UniqueConstraint(
                fields=["group"], condition=~models.Q(phase__in=FINAL_PHASES), name="one_active_deployment_per_group"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="deployment_due", condition=models.Q(due_at__isnull=False))
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Target(models.Model):
    """One instance inside one deployment."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="targets", db_index=False)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="targets")
    position = models.PositiveIntegerField(help_text="Place in rolling order, from 0.")
    batch = models.PositiveIntegerField()
    standing = models.CharField(max_length=20, choices=_choices(Standing), default=Standing.PENDING.value)
    attempt = models.PositiveIntegerField(default=1)
    entry = models.CharField(max_length=20, default="full")
    slice = models.PositiveIntegerField(null=True)
    stage = models.CharField(max_length=20, null=True)  # noqa: DJ001  # null says that no stage has begun
    progress = models.CharField(max_length=20, null=True)  # noqa: DJ001  # the same
    failure = models.JSONField(null=True)
    restored = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "instance"], name="one_target_per_instance"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["instance"], name="target_moving", condition=models.Q(standing__in=MOVING_STANDINGS))
        ]

    def __str__(self) -> str:
        return f"{self.deployment_id}/{self.instance_id}"


class Slice(models.Model):
    """Targets that one worker drives: the unit of distributed work, and the outbox of what has to be sent."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="slices", db_index=False)
    number = models.PositiveIntegerField()
    course = models.CharField(max_length=20, choices=_choices(Course))
    instance_ids = models.JSONField()
    closed = models.BooleanField(default=False)
    owner = models.CharField(max_length=200, blank=True, default="")
    epoch = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    recalls = models.PositiveIntegerField(default=0)
    dispatched_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "number"], name="one_slice_per_number"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["dispatched_at"], name="slice_open", condition=models.Q(closed=False))
        ]

    def __str__(self) -> str:
        return f"{self.deployment_id}/{self.number}"


class Event(models.Model):
    """
    The log: every change of state of a deployment, in order and without a gap.

    ``kind`` is the name of a fact of the domain, or ``Transition`` for one stage of one target.
    """

    # Not checked by the database for each of millions of rows: a log is only ever written beside what it is about.
    deployment = models.ForeignKey(
        Deployment, on_delete=models.CASCADE, related_name="events", db_index=False, db_constraint=False
    )
    seq = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    kind = models.CharField(max_length=40)
    instance = models.ForeignKey(
        Instance, on_delete=models.SET_NULL, null=True, db_index=False, db_constraint=False, related_name="+"
    )
    data = models.TextField(help_text="The fact as JSON.")

    class Meta:
        ordering: ClassVar = ["deployment", "seq"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "seq"], name="one_event_per_seq"),
        ]

    def __str__(self) -> str:
        return f"{self.deployment_id}/{self.seq} {self.kind}"


class AuditEntry(models.Model):
    """
    What a person or a policy did: who, from where, why, what was before and what after.

    The entries are a chain: each carries a code over itself and the one before it; see `rollwave.store.audit`.
    """

    seq = models.PositiveBigIntegerField(unique=True, help_text="Place in the chain, from 1 and without a gap.")
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    token = models.CharField(
        max_length=150, blank=True, default="", db_default="", help_text="The token that was used."
    )
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=300)
    app = models.CharField(max_length=63, blank=True, default="", db_default="", db_index=True)
    environment = models.CharField(max_length=63, blank=True, default="", db_default="")
    group = models.CharField(max_length=63, blank=True, default="", db_default="", db_index=True)
    address = models.CharField(max_length=64, blank=True, default="", db_default="")
    agent = models.CharField(max_length=200, blank=True, default="", db_default="")
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    reason = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict)
    code = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["-seq"]

    def __str__(self) -> str:
        return f"{self.seq} {self.at} {self.actor} {self.action} {self.subject}"


class AuditHead(models.Model):
    """The end of the audit chain, sealed: an entry that is missing there is missed."""

    seq = models.PositiveBigIntegerField(default=0)
    code = models.CharField(max_length=64, blank=True, default="", db_default="")
    seal = models.CharField(max_length=64, blank=True, default="", db_default="")

    def __str__(self) -> str:
        return f"{self.seq} {self.code}"


class AcceptedCommand(models.Model):
    """An idempotency key that was used, and what it stands for."""

    key = models.CharField(max_length=200, unique=True)
    digest = models.CharField(max_length=64)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, null=True, related_name="+")
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key


class Token(models.Model):
    """An API token; only its digest is stored."""

    name = models.CharField(max_length=150, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="tokens")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Grant(models.Model):
    """A role of a user or of a token, for an app and an environment; ``*`` is all of them."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="grants")
    token = models.ForeignKey(Token, on_delete=models.CASCADE, null=True, related_name="grants")
    role = models.CharField(max_length=20)
    app = models.CharField(max_length=63, default="*")
    environment = models.CharField(max_length=63, default="*")
    from_groups = models.BooleanField(default=False, help_text="Given by single sign-on, and taken away by it.")

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=False, token__isnull=True)
                | models.Q(user__isnull=True, token__isnull=False),
                name="grant_has_one_holder",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.app}/{self.environment}"


class Identity(models.Model):
    """Who a user is at the provider of single sign-on."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=300)
    subject = models.CharField(max_length=255)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_user_per_identity"),
        ]

    def __str__(self) -> str:
        return f"{self.issuer} {self.subject}"


class Subscription(models.Model):
    """
    Who is told what, and how: one receiver.

    What is needed to reach it is sealed (`rollwave.store.sealing`); ``address`` is what of it may be shown. ``owner``
    and the fields after it say who serves it, and how that goes.
    """

    name = models.CharField(max_length=63, unique=True)
    channel = models.CharField(max_length=20)
    address = models.CharField(max_length=300)
    sealed = models.TextField()
    person = models.CharField(max_length=150, blank=True, default="", help_text="Whose it is; empty: a team's.")
    language = models.CharField(max_length=10, default="en")
    topics = models.JSONField(default=list)
    groups = models.JSONField(default=list, help_text="Names of groups; none: all of them.")
    apps = models.JSONField(default=list, help_text="Names of apps; none: all of them.")
    environments = models.JSONField(default=list, help_text="Names of environments; none: all of them.")
    enabled = models.BooleanField(default=True)
    disabled_reason = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    adopted_id = models.PositiveBigIntegerField(default=0, help_text="Every deployment up to this one has its cursor.")
    owner = models.CharField(max_length=200, blank=True, default="")
    epoch = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    due_at = models.DateTimeField()
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    failing_since = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Cursor(models.Model):
    """
    How far a subscription was told of a deployment.

    All events up to ``seq`` are settled; those up to ``until``, if that is more, are the message that is on its way,
    which is never put together otherwise.
    """

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="cursors")
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="+")
    seq = models.PositiveBigIntegerField(default=0)
    until = models.PositiveBigIntegerField(default=0)
    begun_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    muted = models.BooleanField(default=False, help_text="The subscription does not want this deployment.")

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subscription", "deployment"], name="one_cursor_per_deployment"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id}/{self.deployment_id}: {self.seq}"


class Delivery(models.Model):
    """One attempt to send a message; the newest of a subscription are kept."""

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="deliveries")
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, null=True, related_name="+")
    message_id = models.CharField(max_length=100)
    first_seq = models.PositiveBigIntegerField(default=0)
    until_seq = models.PositiveBigIntegerField(default=0)
    events = models.PositiveIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=1)
    at = models.DateTimeField()
    took_ms = models.PositiveIntegerField(default=0)
    arrived = models.BooleanField()
    said = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.message_id} #{self.attempt}"


class Counter(models.Model):
    """A number that only grows, and is not behind the clock: fencing epochs are drawn from it."""

    name = models.CharField(max_length=40, primary_key=True)
    value = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}={self.value}"
