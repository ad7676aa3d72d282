"""AWS's target groups, as far as AWS in memory goes, which has no traffic: what it is told, and what it says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from moto import mock_aws
from msgspec.structs import replace

from rollwave.balancers.elbv2 import Elbv2Balancer
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Member, Traffic
from tests.contract.balancer.worlds import POOL, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

REGION = "eu-central-1"
MEMBERS = tuple(Member(pool=POOL, name=f"shop/i-{n:08x}:80", address=f"10.0.0.{n}", port=80) for n in range(1, 31))


class Aws:
    """A region in memory, and what is asked of it."""

    def __init__(self, client: Any, vpc: str) -> None:
        self.client = client
        self.vpc = vpc
        self.calls: list[tuple[str, int]] = []
        self.states: dict[str, str] = {}
        """By address: what is said about a target instead of what moto thinks."""

    def group(self, kind: str = "ip", name: str = POOL) -> str:
        made = self.client.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=self.vpc, TargetType=kind)
        return made["TargetGroups"][0]["TargetGroupArn"]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        vpc = boto3.client("ec2", region_name=REGION).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        yield Aws(boto3.client("elbv2", region_name=REGION), vpc)


@pytest.fixture
def balancer(aws: Aws) -> Elbv2Balancer:
    made = Elbv2Balancer(region=REGION, clock=SystemClock(), write_timeout_s=30, up_timeout_s=0.3, poll_s=0.02)
    call = made._call

    async def spied(name: str, pool: str, **arguments: Any) -> Any:
        aws.calls.append((name, len(arguments.get("Targets", ()))))
        answer = await call(name, pool, **arguments)
        for one in answer.get("TargetHealthDescriptions", ()):
            one["TargetHealth"]["State"] = aws.states.get(one["Target"]["Id"], one["TargetHealth"]["State"])
        return answer

    made._call = spied  # type: ignore[method-assign]
    return made


async def test_out_and_in_are_idempotent_and_read_back(aws: Aws, balancer: Elbv2Balancer) -> None:
    """Who is put in is registered once and read as in; who is put out is not; repetitions send nothing."""
    aws.group()
    first, second, *_ = MEMBERS
    for _ in range(2):
        await asyncio.gather(balancer.mark_up(first), balancer.mark_up(second))
    for _ in range(2):
        assert await balancer.mark_down(first, drain_timeout_s=1)

    assert await balancer.read(MEMBERS[:3]) == dict(
        zip((m.name for m in MEMBERS[:3]), (Traffic.OUT, Traffic.IN, Traffic.OUT), strict=True)
    )
    sent = [call for call in aws.calls if call[0].endswith("register_targets")]
    assert sent == [("register_targets", 2), ("deregister_targets", 1)]


async def test_changes_together_are_one_call(aws: Aws, balancer: Elbv2Balancer) -> None:
    """Thirty that come in at once are one call; ten that leave while others come are one each way."""
    aws.group()
    # What is known of the group is asked once, and keeps nobody back then.
    await balancer.read(MEMBERS)
    await asyncio.gather(*(balancer.mark_up(member) for member in MEMBERS[:20]))
    await asyncio.gather(
        *(balancer.mark_down(member, drain_timeout_s=1) for member in MEMBERS[:10]),
        *(balancer.mark_up(member) for member in MEMBERS[20:]),
    )

    sent = [call for call in aws.calls if call[0].endswith("register_targets")]
    assert sent == [("register_targets", 20), ("deregister_targets", 10), ("register_targets", 10)]
    states = await balancer.read(MEMBERS)
    assert [states[member.name] for member in MEMBERS] == [Traffic.OUT] * 10 + [Traffic.IN] * 20


async def test_draining_is_waited_for(aws: Aws, balancer: Elbv2Balancer) -> None:
    """A target that AWS still drains is not drained; when the time is over it stays out."""
    aws.group()
    first, *_ = MEMBERS
    await balancer.mark_up(first)
    aws.states[first.address] = "draining"

    assert await balancer.mark_down(first, drain_timeout_s=0.1) is False
    assert await balancer.read([first]) == {first.name: Traffic.DRAINING}


async def test_registered_is_not_healthy(aws: Aws, balancer: Elbv2Balancer) -> None:
    """mark_up does not say that a member takes traffic while AWS's own check keeps it out."""
    aws.group()
    aws.states[MEMBERS[0].address] = "unhealthy"

    with pytest.raises(BalancerUnknownError, match=r"still unhealthy after 0\.3 s"):
        await balancer.mark_up(MEMBERS[0])


async def test_instances_go_by_their_id(aws: Aws, balancer: Elbv2Balancer) -> None:
    """In a target group of type instance, the server's name is the id of the EC2 instance."""
    arn = aws.group("instance")
    image = boto3.client("ec2", region_name=REGION).describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    started = boto3.resource("ec2", region_name=REGION).create_instances(ImageId=image, MinCount=1, MaxCount=1)[0]
    member = replace(MEMBERS[0], name=f"shop/{started.id}:80")

    await balancer.mark_up(member)

    (found,) = aws.client.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert found["Target"] == {"Id": started.id, "Port": 80}


async def test_what_waited_too_long_is_never_sent(aws: Aws, balancer: Elbv2Balancer) -> None:
    """A change whose turn comes too late is given up: meanwhile another process may have been told the opposite."""
    arn = aws.group()
    await balancer.mark_up(MEMBERS[0])
    late = Elbv2Balancer(region=REGION, clock=SystemClock(), write_timeout_s=0)

    with pytest.raises(BalancerUnknownError, match="was not begun"):
        await late.mark_down(MEMBERS[0], drain_timeout_s=1)

    assert len(aws.client.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]) == 1


async def test_unknown_pool(aws: Aws, balancer: Elbv2Balancer) -> None:
    """A target group that is not there is BalancerPoolError; once it is made, it is found."""
    for call in (balancer.mark_up(MEMBERS[0]), balancer.read(MEMBERS[:1])):
        with pytest.raises(BalancerPoolError, match=r"'web': TargetGroupNotFound"):
            await call

    aws.group()
    await balancer.mark_up(MEMBERS[0])


async def test_no_answer_is_unknown(aws: Aws, balancer: Elbv2Balancer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where AWS cannot be reached, it is BalancerUnknownError that says where to look."""
    aws.group()
    client = await balancer._connected()

    def silent(**_: object) -> None:
        raise ConnectTimeoutError(endpoint_url="https://elb.test")

    monkeypatch.setattr(client, "describe_target_groups", silent)
    with pytest.raises(BalancerUnknownError, match="region, credentials and network"):
        await balancer.mark_down(MEMBERS[0], drain_timeout_s=1)
