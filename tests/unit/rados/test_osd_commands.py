"""Commands to OSDs and placement groups: targets, resends, refusals, time-outs."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
from typing import cast

import pytest

from cove.messenger import Connection, Dispatcher, LoopbackConnection
from cove.rados import Cancelled, InvalidArgument, NotConnected, OutcomeUnknown, Overloaded, TimedOut
from cove.rados import osd_commands as module
from cove.rados.osd_commands import parse_pgid
from cove.wire.messages import MCommand, MCommandReply, Message
from cove.wire.types import PgId

from .fake import FSID, FakeCluster, FakeOsd, eventually, settle

COMMAND = {"prefix": "version"}


class Teller(Dispatcher):
    """The part of a scripted OSD that takes commands; it answers with its number unless it is silent."""

    def __init__(self, osd: FakeOsd) -> None:
        self.number = osd.messenger.name.number
        self.silent = False
        self.results: list[int] = []
        self.received: list[MCommand] = []
        self.connections: list[Connection] = []
        osd.messenger.add_dispatcher_head(self)

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        if not isinstance(message, MCommand):
            return False
        self.received.append(message)
        self.connections.append(connection)
        if not self.silent:
            self.reply(len(self.received) - 1, self.results.pop(0) if self.results else 0)
        return True

    def reply(self, index: int, result: int = 0) -> None:
        self.connections[index].send_message(
            MCommandReply(tid=self.received[index].tid, result=result, status="said", outdata=b"%d" % self.number)
        )

    def cut(self) -> None:
        cast("LoopbackConnection", self.connections[-1]).cut()


@pytest.fixture
def tellers(cluster: FakeCluster) -> list[Teller]:
    return [Teller(osd) for osd in cluster.osds]


async def test_a_command_goes_to_its_osd_and_comes_back(cluster: FakeCluster, tellers: list[Teller]) -> None:
    result = await cluster.client.osd_command(1, COMMAND, b"input")
    assert (result.result, result.status, result.outbuf) == (0, "said", b"1")
    assert not tellers[0].received
    [sent] = tellers[1].received
    assert (sent.fsid, sent.cmd, sent.indata) == (FSID, ['{"prefix": "version"}'], b"input")
    tellers[1].results = [-errno.EINVAL]
    assert (await cluster.client.osd_command(1, COMMAND)).result == -errno.EINVAL
    assert len(cluster.client.objecter.commands) == 0


async def test_osds_that_are_away(cluster: FakeCluster, tellers: list[Teller]) -> None:
    client = cluster.client
    assert (await client.osd_command(7, COMMAND)).result == -errno.ENOENT
    cluster.mon.set_osd(1, up=False)  # nobody has told the client yet: it asks for the newest map
    answer = await client.osd_command(1, COMMAND)
    assert answer.result == 0
    await client.wait_for_latest_map()
    answer = await client.osd_command(1, COMMAND)
    assert (answer.result, answer.status) == (-errno.ENXIO, "osd.1 is down")
    for number in (-1, 2**31):
        with pytest.raises(InvalidArgument, match="no number of an OSD"):
            await client.osd_command(number, COMMAND)


async def test_a_lost_connection_has_it_sent_again(cluster: FakeCluster, tellers: list[Teller]) -> None:
    tellers[0].silent = True
    tasks = [asyncio.ensure_future(cluster.client.osd_command(0, {"prefix": name})) for name in ("one", "two")]
    await eventually(lambda: len(tellers[0].received) == 2)
    tellers[0].silent = False
    tellers[0].cut()
    assert [(await task).result for task in tasks] == [0, 0]
    tids = [message.tid for message in tellers[0].received]
    assert tids == [tids[0], tids[1], tids[0], tids[1]]


async def test_an_osd_that_goes_down_meanwhile(cluster: FakeCluster, tellers: list[Teller]) -> None:
    tellers[0].silent = True
    task = asyncio.ensure_future(cluster.client.osd_command(0, COMMAND))
    await eventually(lambda: tellers[0].received)
    cluster.mon.set_osd(0, up=False)
    await cluster.client.wait_for_latest_map()
    assert (await task).result == -errno.ENXIO


async def test_a_placement_group_is_followed_to_its_new_primary(cluster: FakeCluster, tellers: list[Teller]) -> None:
    tellers[0].silent = True
    task = asyncio.ensure_future(cluster.client.pg_command("1.3", {"prefix": "query"}))
    await eventually(lambda: tellers[0].received)
    cluster.mon.set_osd(0, up=False)
    await cluster.client.wait_for_latest_map()
    assert (await task).outbuf == b"1"
    assert (await cluster.client.pg_command("9.0", COMMAND)).result == -errno.ENOENT
    # the first answer comes too late, and from a session that is gone
    tellers[0].reply(0)
    await settle()


async def test_eagain_is_asked_again(
    cluster: FakeCluster, tellers: list[Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S_MIN", 0.001)
    tellers[0].results = [-errno.EAGAIN, -errno.EAGAIN, 0]
    assert (await cluster.client.osd_command(0, COMMAND)).result == 0
    assert len(tellers[0].received) == 3


async def test_one_that_moves_after_eagain_is_sent_once(cluster: FakeCluster, tellers: list[Teller]) -> None:
    await cluster.client.osd_command(1, COMMAND)  # that session is up
    tellers[0].results = [-errno.EAGAIN]
    task = asyncio.ensure_future(cluster.client.pg_command("1.3", {"prefix": "query"}))
    await eventually(lambda: tellers[0].received)
    await settle()
    cluster.mon.set_osd(0, up=False)
    await cluster.client.wait_for_latest_map()
    assert (await task).outbuf == b"1"
    await settle()
    assert [json.loads(message.cmd[0])["prefix"] for message in tellers[1].received] == ["version", "query"]


async def test_shutdown_while_the_newest_map_is_asked_for(cluster: FakeCluster) -> None:
    unheard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    cluster.mon.set_osd(1, up=False)
    await cluster.client.wait_for_latest_map()
    task = asyncio.ensure_future(cluster.client.osd_command(1, COMMAND))
    await asyncio.sleep(0)
    assert len(cluster.client.objecter.commands) == 1
    await cluster.client.shutdown()
    with pytest.raises(Cancelled):
        await task
    del task
    gc.collect()
    await settle()
    assert not unheard


async def test_time_outs(cluster: FakeCluster, tellers: list[Teller]) -> None:
    tellers[0].silent = True
    with pytest.raises(OutcomeUnknown, match=r"command 'version' to osd\.0: osd\.0 did not answer within"):
        await cluster.client.osd_command(0, COMMAND, timeout_s=0.02)
    cluster.mon.set_osd(1, up=False)
    cluster.mon.set_osd(0, up=False)
    await cluster.client.wait_for_latest_map()
    with pytest.raises(TimedOut, match="not sent within"):
        await cluster.client.pg_command("1.0", COMMAND, timeout_s=0.02)
    assert len(cluster.client.objecter.commands) == 0
    # there is nobody to wait for it any more
    tellers[0].reply(0)
    await settle()


async def test_shutdown_and_limits(
    cluster: FakeCluster, tellers: list[Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    tellers[0].silent = True
    commands = cluster.client.objecter.commands
    task = asyncio.ensure_future(cluster.client.osd_command(0, COMMAND))
    await eventually(lambda: tellers[0].received)
    monkeypatch.setattr(module, "COMMANDS_MAX", 1)
    with pytest.raises(Overloaded):
        await cluster.client.osd_command(0, COMMAND)
    given_up = asyncio.ensure_future(cluster.client.objecter.wait_for_map(99, 5))
    commands.cancel_all()
    with pytest.raises(Cancelled):
        await task
    with pytest.raises(NotConnected):
        await commands.ask(0, COMMAND, b"", 1)
    given_up.cancel()


@pytest.mark.parametrize(("text", "pgid"), [("1.0", PgId(1, 0)), ("12.1f", PgId(12, 0x1F)), ("3.FF", PgId(3, 255))])
def test_pgids(text: str, pgid: PgId) -> None:
    assert parse_pgid(text) == pgid


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "1.g", "-1.0", "1.123456789", "x.1", "1.0s0", "1.0 ", "١.0"])
def test_what_is_no_pgid(text: str) -> None:
    with pytest.raises(InvalidArgument, match="no placement group"):
        parse_pgid(text)
