"""Calls about the cluster and a pool: what is answered from the map, and which commands the others become."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cove.messenger import Connection, Dispatcher
from cove.rados import InOutError, InvalidArgument, NotConnected, ObjectNotFound, PermissionDenied, TimedOut
from cove.rados.commands import CommandResult
from cove.wire.messages import (
    MCommand,
    MCommandReply,
    MConfig,
    Message,
    MMgrCommand,
    MMgrCommandReply,
    MMonCommand,
    MMonCommandAck,
)
from cove.wire.osdmap import PoolFlag
from cove.wire.pool import PoolType

from .fake import FSID, FakeCluster, FakeMon


class Commands(Dispatcher):
    """The part of a scripted monitor that carries commands out; `effect` may change the map."""

    def __init__(self, mon: FakeMon) -> None:
        self.received: list[dict[str, Any]] = []
        self.results: list[int] = []
        self.effect: Callable[[], object] = lambda: None
        mon.messenger.add_dispatcher_head(self)

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        if not isinstance(message, MMonCommand):
            return False
        self.received.append(json.loads(message.cmd[0]))
        self.effect()
        result = self.results.pop(0) if self.results else 0
        connection.send_message(MMonCommandAck(tid=message.tid, result=result, status="said"))
        return True


@pytest.fixture
def commands(cluster: FakeCluster) -> Commands:
    return Commands(cluster.mon)


async def test_pools_by_number(cluster: FakeCluster) -> None:
    client = cluster.client
    assert client.pool_name(2) == "images"
    with pytest.raises(ObjectNotFound):
        client.pool_name(3)
    cluster.mon.add_pool(3, "new")  # our map does not have it yet
    assert await client.pool_reverse_lookup(3) == "new"
    cluster.mon.set_pool(3, tier_of=2)
    await client.wait_for_latest_map()
    assert (client.pool_base_tier(3), client.pool_base_tier(2)) == (2, 2)
    for call in (client.pool_base_tier, client.pool):
        with pytest.raises(ObjectNotFound):
            call(9)
    async with client.open_ioctx(2) as ioctx:
        assert (ioctx.pool_name, ioctx.pool_id, ioctx.current_pool_name()) == ("images", 2, "images")
    with pytest.raises(ObjectNotFound):
        await client.open_ioctx(9)


async def test_alignment(cluster: FakeCluster) -> None:
    assert (cluster.ioctx.requires_alignment(), cluster.ioctx.alignment()) == (False, 0)
    for flags, needed in ((0, True), (PoolFlag.EC_OVERWRITES, False)):
        cluster.mon.set_pool(1, type=PoolType.ERASURE, stripe_width=8192, flags=flags)
        await cluster.client.wait_for_latest_map()
        assert cluster.ioctx.requires_alignment() is needed
        assert cluster.ioctx.alignment() == (8192 if needed else 0)
    cluster.ioctx.close()
    with pytest.raises(NotConnected):
        cluster.ioctx.alignment()


async def test_applications(cluster: FakeCluster, commands: Commands) -> None:
    ioctx = cluster.ioctx
    assert ioctx.application_list() == []
    commands.effect = lambda: cluster.mon.set_pool(1, application_metadata={"rbd": {}, "a": {"k": "v"}})
    await ioctx.application_enable("rbd")
    assert commands.received == [{"prefix": "osd pool application enable", "pool": "rbd", "app": "rbd"}]
    assert ioctx.application_list() == ["a", "rbd"], "the map that has it was waited for"
    assert ioctx.application_metadata_list("a") == {"k": "v"}
    assert ioctx.application_metadata_get("a", "k") == "v"
    for call in (
        lambda: ioctx.application_metadata_list("b"),
        lambda: ioctx.application_metadata_get("a", "x"),
        lambda: ioctx.application_metadata_get("b", "x"),
    ):
        with pytest.raises(ObjectNotFound):
            call()
    commands.effect = lambda: None
    commands.results = [-errno.EPERM, 0, 0, 0]
    with pytest.raises(PermissionDenied, match="said"):
        await ioctx.application_enable("second")
    await ioctx.application_enable("second", force=True)
    await ioctx.application_metadata_set("rbd", "key", "value")
    await ioctx.application_metadata_remove("rbd", "key")
    assert commands.received[2:] == [
        {"prefix": "osd pool application enable", "pool": "rbd", "app": "second", "yes_i_really_mean_it": True},
        {"prefix": "osd pool application set", "pool": "rbd", "app": "rbd", "key": "key", "value": "value"},
        {"prefix": "osd pool application rm", "pool": "rbd", "app": "rbd", "key": "key"},
    ]


async def test_blocklist_under_either_name(cluster: FakeCluster, commands: Commands) -> None:
    client, address = cluster.client, "127.0.0.1:0/7"
    await client.blocklist_add(address)
    assert commands.received == [{"prefix": "osd blocklist", "blocklistop": "add", "addr": address}]
    commands.results = [-errno.EINVAL, 0]
    await client.blocklist_add(address, 2.5)
    assert commands.received[-1] == {
        "prefix": "osd blacklist",
        "blacklistop": "add",
        "addr": address,
        "expire": 2.5,
    }
    commands.results = [-errno.EINVAL, -errno.EINVAL]
    with pytest.raises(InvalidArgument):
        await client.blocklist_add("rubbish")
    assert [next(iter(command.values())) for command in commands.received[-2:]] == ["osd blocklist", "osd blacklist"]
    commands.results = [-errno.EACCES]
    with pytest.raises(PermissionDenied):
        await client.blocklist_add(address)
    with pytest.raises(InvalidArgument, match="below 0"):
        await client.blocklist_add(address, -1)
    assert not client.is_blocklisted
    with pytest.raises(TimedOut):
        await client.wait_until_blocklisted(0.01)


async def test_commands_that_can_not_travel(cluster: FakeCluster, commands: Commands) -> None:
    """They fail alone, and show nothing of what they hold."""
    deep = '{"prefix": "x", "a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    for command in (
        '{"prefix": "x", "key": "SECRET\udfff"}',
        deep,
        {"prefix": "x", "a": b"SECRET"},
        '{"key": "SECRET',
        7,
    ):
        with pytest.raises(InvalidArgument) as caught:
            await cluster.client.mon_command(command)  # type: ignore[arg-type]
        assert "SECRET" not in str(caught.value)
        assert len(str(caught.value)) < 300
    assert not commands.received
    (await cluster.client.mon_command({"prefix": "x"})).check()


async def test_releases(cluster: FakeCluster) -> None:
    assert cluster.client.min_compatible_osd == 16
    assert cluster.client.min_compatible_client == (10, 12)
    only = replace(cluster.mon.newest.osd_only, require_min_compat_client=0, require_osd_release=18)
    cluster.mon.publish(osd_only=only)
    await cluster.client.wait_for_latest_map()
    assert (cluster.client.min_compatible_osd, cluster.client.min_compatible_client) == (18, (10, 0))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"pg_stats": [{"pgid": "1.0"}, {"pgid": "1.a"}]}, ["1.0", "1.a"]),
        ([{"pgid": "1.0"}], ["1.0"]),
        ({}, []),
        ([1], None),
        ({"pg_stats": [{}]}, None),
        (7, None),
    ],
)
async def test_inconsistent_pgs(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, answer: Any, found: list[str] | None
) -> None:
    asked: list[Any] = []

    async def command(what: Any) -> CommandResult:
        asked.append(what)
        return CommandResult(0, "", json.dumps(answer).encode())

    monkeypatch.setattr(cluster.client, "mgr_command", command)
    if found is None:
        with pytest.raises(InOutError):
            await cluster.client.inconsistent_pgs(1)
    else:
        assert await cluster.client.inconsistent_pgs(1) == found
    assert asked == [{"prefix": "pg ls", "pool": 1, "states": ["inconsistent"], "format": "json"}]
    with pytest.raises(ObjectNotFound):
        await cluster.client.inconsistent_pgs(9)


async def test_calls_before_connecting(cluster: FakeCluster) -> None:
    client = type(cluster.client)(cluster.client.transport)
    with pytest.raises(NotConnected):
        await client.service_daemon_update({})
    await client.service_daemon_register("gateway", "one", {})
    client.monitor_log("info", lambda line: None)
    with pytest.raises(NotConnected):
        _ = client.addresses
    async with client:
        await client.service_daemon_update({"a": "b"})
        assert client.addresses == "[]"


def test_commands_and_answers_do_not_show_what_they_carry() -> None:
    """They may have keys: `auth import`, `auth get-key`."""
    cmd, secret = ['{"prefix": "auth add", "key": "SECRET"}'], b"SECRET"
    for message in (
        MCommand(tid=1, fsid=FSID, cmd=cmd, indata=secret),
        MMgrCommand(tid=1, fsid=FSID, cmd=cmd, indata=secret),
        MMonCommand(tid=1, fsid=FSID, cmd=cmd, indata=secret),
        MMonCommandAck(tid=1, result=0, cmd=cmd, outdata=secret),
        MCommandReply(tid=1, result=0, outdata=secret),
        MMgrCommandReply(tid=1, result=0, outdata=secret),
        MConfig(config={"key": "SECRET"}),
    ):
        assert "SECRET" not in repr(message)
