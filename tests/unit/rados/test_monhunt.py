"""The hunt for a monitor, with connections that do what the test says."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from cove.messenger import Connection
from cove.messenger.tcp_stream import TcpFault
from cove.rados.monhunt import HuntConf, MonHunt, Monitor, describe_refusal, shuffled
from cove.wire.auth import AuthError
from cove.wire.errors import PeerError
from cove.wire.messages import Message
from cove.wire.types import EntityType

from .fake import eventually

QUICK = HuntConf(interval_s=0.01, pause_s_min=0.001, pause_s_max=0.004)
PATIENT = HuntConf(interval_s=60.0, pause_s_min=60.0)
MONITORS = tuple(Monitor(f"v2:10.0.0.{number}:3300/0", name) for number, name in enumerate("abcde", start=1))


class Dialled(Connection):
    """A connection that nothing happens to by itself."""

    def __init__(self, address: str) -> None:
        self.peer_address = address
        self.peer_type = EntityType.MON
        self.down = False

    @property
    def is_connected(self) -> bool:
        return not self.down

    def send_message(self, message: Message) -> None:
        raise AssertionError("the hunt sends nothing")

    def mark_down(self) -> None:
        self.down = True


class World:
    """Records what is dialled, and whether the hunt gave up."""

    def __init__(self, monitors: tuple[Monitor, ...], conf: HuntConf, seed: int = 1) -> None:
        self.dialled: list[Dialled] = []
        self.denials = 0
        self.on_connect: Callable[[Dialled], None] | None = None
        self.hunt = MonHunt(monitors, self.connect, self.denied, conf, Random(seed))

    def connect(self, address: str) -> Connection:
        connection = Dialled(address)
        self.dialled.append(connection)
        return connection

    def denied(self) -> None:
        self.denials += 1

    def fail(self, connection: Dialled, problem: Exception | None = None) -> None:
        connection.refused_because = problem
        assert self.hunt.lost(connection)


async def test_three_at_once_and_the_first_wins() -> None:
    world = World(MONITORS, PATIENT)
    world.hunt.start()
    assert len(world.dialled) == 3
    winner = world.dialled[1]
    monitor = world.hunt.won(winner)
    assert monitor is not None
    assert monitor.address == winner.peer_address
    assert [connection.down for connection in world.dialled] == [True, False, True]
    assert world.hunt.won(world.dialled[0]) is None, "the hunt is over"
    assert not world.hunt.lost(world.dialled[2])
    assert not world.hunt.pending


async def test_the_next_batch_comes_at_once_when_all_have_failed() -> None:
    world = World(MONITORS, PATIENT)
    world.hunt.start()
    for connection in list(world.dialled):
        world.fail(connection)
    assert len(world.dialled) == 5
    assert {connection.peer_address for connection in world.dialled} == {monitor.address for monitor in MONITORS}
    world.hunt.stop()
    assert all(connection.down for connection in world.dialled[3:])


async def test_who_does_not_answer_is_given_up_and_tried_again() -> None:
    world = World(MONITORS[:4], QUICK)
    world.hunt.start()
    await eventually(lambda: len(world.dialled) >= 8)
    tried = Counter(connection.peer_address for connection in world.dialled)
    assert set(tried) == {monitor.address for monitor in MONITORS[:4]}
    assert all(connection.down for connection in world.dialled[:4])
    assert "mon.a at v2:10.0.0.1:3300/0: no answer within 0.0" in world.hunt.report()
    assert world.hunt.multiple > 1, "slow monitors get more time"
    assert world.denials == 0
    world.hunt.stop()


async def test_all_refused_pauses_and_starts_over() -> None:
    world = World(MONITORS[:1], QUICK)
    world.hunt.start()
    for count in range(1, 6):
        await eventually(lambda: len(world.dialled) == count)  # noqa: B023
        world.fail(world.dialled[-1], ConnectionRefusedError(errno.ECONNREFUSED, "no"))
    assert world.hunt.multiple == 1, "a refusal is no slowness"
    assert "nobody listens there" in world.hunt.report()
    world.hunt.stop()


async def test_refused_logins_end_it_only_when_no_monitor_can_say_otherwise() -> None:
    world = World(MONITORS[:3], PATIENT)
    world.hunt.start()
    world.fail(world.dialled[0], AuthError("wrong key"))
    world.fail(world.dialled[1], ConnectionRefusedError())
    assert world.denials == 0
    world.fail(world.dialled[2], AuthError("wrong key"))
    assert world.denials == 1
    assert world.hunt.report().count("login refused: wrong key") == 2

    world = World(MONITORS[:2], PATIENT)
    world.hunt.start()
    world.fail(world.dialled[0], AuthError("wrong key"))
    world.fail(world.dialled[1], PeerError("a web server"))
    assert world.denials == 0
    assert "no monitor that we can talk to answers there: a web server" in world.hunt.report()


async def test_patience_grows_with_each_hunt_and_health_takes_it_back() -> None:
    world = World(MONITORS[:1], HuntConf(interval_s=60.0, pause_s_min=0.001))
    world.hunt.start()
    for _ in range(8):
        await eventually(lambda: world.hunt.pending)
        monitor = world.hunt.won(world.dialled[-1])
        assert monitor is not None
        world.hunt.session_lost(monitor, "it broke")
    assert world.hunt.multiple == 10
    assert world.hunt.round_s == 600
    assert "session lost (it broke)" in world.hunt.report()
    for _ in range(8):
        world.hunt.healthy()
    assert world.hunt.multiple == 1
    world.hunt.stop()


async def test_fail_over_is_quick_but_not_when_sessions_are_short() -> None:
    world = World(MONITORS[:1], HuntConf(pause_s_min=0.001, pause_s_max=30.0))
    world.hunt.start()
    for count in range(1, 8):
        await eventually(lambda: len(world.dialled) == count)  # noqa: B023
        world.fail(world.dialled[-1])
    await eventually(lambda: world.hunt.pending)
    loop, pauses = asyncio.get_running_loop(), []
    for lived_s in (60.0, 0.0, 0.0, 0.0, 60.0):
        monitor = world.hunt.won(world.dialled[-1])
        assert monitor is not None
        world.hunt._won_s -= lived_s
        world.hunt.session_lost(monitor, "it broke")
        assert world.hunt._timer is not None
        pauses.append(round((world.hunt._timer.when() - loop.time()) * 1000))
        await eventually(lambda: world.hunt.pending)
    assert pauses == [1, 2, 4, 8, 1]
    world.hunt.stop()


async def test_stop_leaves_nothing() -> None:
    world = World(MONITORS, QUICK)
    world.hunt.start()
    world.hunt.stop()
    await asyncio.sleep(0.03)
    assert len(world.dialled) == 3
    assert all(connection.down for connection in world.dialled)


def test_order_of_trials() -> None:
    monitors = [Monitor("late", priority=2), Monitor("heavy", weight=90), Monitor("light", weight=10), Monitor("none")]
    firsts: Counter[str] = Counter()
    dice = Random(7)
    for _ in range(1000):
        order = [monitor.address for monitor in shuffled(monitors, dice)]
        assert order[2:] == ["none", "late"]
        firsts[order[0]] += 1
    assert 850 < firsts["heavy"] < 950
    equal = {shuffled(MONITORS, Random(seed))[0].name for seed in range(60)}
    assert equal == set("abcde")


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (None, "nobody listens"),
        (ConnectionRefusedError(), "nobody listens"),
        (TimeoutError(), "no answer"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to it"),
        (OSError(errno.ECONNRESET, "reset"), "connection lost"),
        (AuthError("x"), "login refused"),
        (PeerError("x"), "no monitor that we can talk to"),
        (TcpFault("the peer closed the connection"), "no quorum"),
    ],
)
def test_what_the_user_is_told(problem: Exception | None, text: str) -> None:
    assert text in describe_refusal(problem)
