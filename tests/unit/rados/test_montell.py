"""Errands to one monitor: names and ranks, ping, tell, and what may go wrong."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest

from cove.messenger import Connection, LoopbackMessenger, LoopbackNetwork
from cove.rados import (
    Cancelled,
    LoopbackTransport,
    NotConnected,
    ObjectNotFound,
    OutcomeUnknown,
    PermissionDenied,
    Rados,
    TimedOut,
    montell,
)
from cove.rados.monhunt import Monitor
from cove.wire.messages import MCommand, MCommandReply, Message, MMonMap, MPing
from cove.wire.types import EntityName, EntityType

from .fake import FSID, eventually
from .mons import Gatekeeper, ScriptedMon, mon_address

NAMED = (Monitor("v2:127.0.0.1:3300/0", "a"), Monitor("v2:127.0.0.2:3300/0", "noname-b"))
UNNAMED = (Monitor("v2:127.0.0.1:3300/0"), Monitor("v2:127.0.0.2:3300/0"))


class TellingMon(ScriptedMon):
    """Answers pings and commands in person; or hangs up `hang_ups` times first."""

    def __init__(self, network: LoopbackNetwork) -> None:
        super().__init__(network, "a", None)
        self.network = network

    hang_ups = 0
    silent_to_all = False

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        self.received.append(message)
        if self.hang_ups:
            self.hang_ups -= 1
            self.cut()
        elif self.silent_to_all:
            pass
        elif isinstance(message, MPing):
            connection.send_message(MMonMap(monmap=b""))  # they say this to everybody
            connection.send_message(MPing(text='{"health": 1}'))
        elif isinstance(message, MCommand):
            connection.send_message(MCommandReply(tid=message.tid, result=-5, status="no", outdata=message.indata))
        return True


@pytest.fixture
async def mon() -> AsyncIterator[TellingMon]:
    found = TellingMon(LoopbackNetwork())
    yield found
    await found.messenger.shutdown()


def messenger(mon: TellingMon) -> LoopbackMessenger:
    return LoopbackMessenger(mon.network, EntityName(EntityType.CLIENT, 5))


async def tell(mon: TellingMon, timeout_s: float = 5.0) -> object:
    monitor = Monitor(mon.address, "a")
    command = {"prefix": "version"}
    return await montell.tell(lambda: messenger(mon), monitor, FSID, command, b"in", timeout_s, set())


def test_names_and_ranks() -> None:
    assert montell.find_monitor(NAMED, "a") is montell.find_monitor(NAMED, 0) is NAMED[0]
    assert montell.find_monitor(NAMED, "mon.a") is NAMED[0]
    assert montell.find_monitor(UNNAMED, "b") is montell.find_monitor(UNNAMED, "noname-b") is UNNAMED[1]
    for target in ("c", "", "mon.", 2, -1):
        with pytest.raises(ObjectNotFound, match="the monitors are: a, noname-b"):
            montell.find_monitor(NAMED, target)
    with pytest.raises(ObjectNotFound, match="the monitors are: none"):
        montell.find_monitor((), "a")


async def test_ping(mon: TellingMon) -> None:
    assert await montell.ping(messenger(mon), Monitor(mon.address, "a"), 5, set()) == '{"health": 1}'
    mon.silent_to_all = True
    with pytest.raises(TimedOut, match=r"ping mon\.a at .*: no answer within 0\.01 s"):
        await montell.ping(messenger(mon), Monitor(mon.address, "a"), 0.01, set())
    mon.hang_ups = 1
    with pytest.raises(NotConnected, match="the connection broke"):
        await montell.ping(messenger(mon), Monitor(mon.address, "a"), 5, set())
    with pytest.raises(NotConnected, match="nobody listens"):
        await montell.ping(messenger(mon), Monitor(mon_address("c"), "c"), 5, set())
    keeper = Gatekeeper(mon.network)
    keeper.denied = {mon.address}
    with pytest.raises(PermissionDenied, match="refuses us with EACCES"):
        await montell.ping(keeper, Monitor(mon.address, "a"), 5, set())


async def test_tell(mon: TellingMon) -> None:
    result = await tell(mon)
    assert result == (-5, "no", b"in", f"command 'version' to mon.a at {mon.address}")
    [sent] = mon.of_type(MCommand)
    assert (sent.fsid, sent.cmd) == (FSID, ['{"prefix": "version"}'])
    # a lost connection is tried once more
    mon.hang_ups = 1
    assert await tell(mon) == result
    mon.hang_ups = 2
    with pytest.raises(OutcomeUnknown, match="the connection broke"):
        await tell(mon)
    mon.silent_to_all = True
    with pytest.raises(OutcomeUnknown, match=r"0\.01 s have passed"):
        await tell(mon, 0.01)


async def test_a_monitor_that_is_away(mon: TellingMon) -> None:
    await mon.messenger.shutdown()
    result = await tell(mon)
    assert isinstance(result, tuple)
    assert result[0] == -errno.ENXIO
    assert "nobody listens" in str(result[1])


async def test_cancelling_leaves_nothing(mon: TellingMon) -> None:
    mon.silent_to_all = True
    ours = messenger(mon)
    task = asyncio.ensure_future(montell.ping(ours, Monitor(mon.address, "a"), 5, set()))
    await eventually(lambda: mon.received)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not mon.sessions)


async def test_shutdown_ends_errands(mon: TellingMon) -> None:
    mon.silent_to_all = True
    client = Rados(LoopbackTransport(mon.network, [mon.address]))
    ping = asyncio.ensure_future(client.ping_monitor("a"))
    await eventually(lambda: mon.received)
    await client.shutdown()
    with pytest.raises(Cancelled, match="shut down"):
        await asyncio.wait_for(ping, 5)
    await eventually(lambda: not mon.sessions)


async def test_ping_needs_no_session(mon: TellingMon) -> None:
    client = Rados(LoopbackTransport(mon.network, [mon.address]))
    assert await client.ping_monitor("a") == '{"health": 1}'
    with pytest.raises(ObjectNotFound):
        await client.ping_monitor("b")
