"""One seed drives watches and notifies of a client through cuts, fail-overs, pauses and cancellations.

The OSDs keep to the rules that matter here: a repeated tid of a write is answered without being done; what watches
remain is kept with the object, but who is connected, and which notifies are under way, is forgotten with each
connection and each interval. Afterwards: every notify that succeeded was told to each watch that answered it, watches
that nobody gave up are in order, those given up are gone from the OSDs, and nothing leaked.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from cove.messenger import Connection, LoopbackNetwork
from cove.rados import Error, LoopbackTransport, Notification, NotifyResult, Rados, RadosConf, Watch, WriteOp
from cove.wire.messages import Message, MOSDOp, MOSDOpReply, MWatchNotify, NotifyCode
from cove.wire.osd_ops import Notify, OpCode
from cove.wire.osd_ops import Watch as WatchParams
from cove.wire.osdmap import MapFlag
from cove.wire.types import EntityName
from cove.wire.watches import NotifyAck, NotifyReplies, NotifyRequest, WatcherId, WatchSubOp

from .fake import FakeCluster, FakeMon, eventually, first_map
from .simulated import SimOsd, World

STEPS = 300
OBJECTS = 3


class Running:
    """A notify under way at an OSD."""

    def __init__(self, oid: str, connection: Connection, cookie: int, data: bytes, waiting: set[WatcherId]) -> None:
        self.oid = oid
        self.connection = connection
        self.cookie = cookie
        self.data = data
        self.waiting = waiting
        self.answers: dict[WatcherId, bytes] = {}


class Watchers(World):
    """Who watches what, requests executed; and who is connected now."""

    def __init__(self, mon: FakeMon) -> None:
        super().__init__(mon)
        self.watchers: dict[str, set[WatcherId]] = {}
        self.executed: set[tuple[EntityName, int]] = set()
        self.connected: dict[tuple[str, WatcherId], Connection] = {}
        self.notifies: dict[int, Running] = {}
        self.notify_id = 0

    def set_osd(self, number: int, up: bool) -> None:
        super().set_osd(number, up)
        self.connected.clear()
        self.notifies.clear()


class WatchOsd(SimOsd):
    """One OSD. What it sends waits, in order, until the simulation lets it go."""

    world: Watchers

    def __init__(self, world: Watchers, network: LoopbackNetwork, number: int) -> None:
        super().__init__(world, network, number)
        self.outbox: list[tuple[Connection, Message]] = []

    def ms_handle_reset(self, connection: Connection) -> None:
        world = self.world
        world.connected = {key: item for key, item in world.connected.items() if item is not connection}
        world.notifies = {key: item for key, item in world.notifies.items() if item.connection is not connection}

    def execute(self, connection: Connection, message: MOSDOp, reply: MOSDOpReply) -> None:
        self.outbox.append((connection, reply))
        op, params = message.ops[0], message.ops[0].params
        if isinstance(params, WatchParams):
            reply.result = self._watch(connection, message, params)
        elif op.code == OpCode.NOTIFY:
            assert isinstance(params, Notify)
            op.outdata = self._notify(connection, message, params.cookie).to_bytes(8, "little")
        elif op.code == OpCode.NOTIFY_ACK:
            self._ack(connection, message.oid, NotifyAck.from_bytes(op.indata))

    def _watch(self, connection: Connection, message: MOSDOp, params: WatchParams) -> int:
        world, oid = self.world, message.oid
        who = WatcherId(connection.peer_name.number, params.cookie)
        watchers = world.watchers.setdefault(oid, set())
        request = (connection.peer_name, message.tid)
        if params.sub_op == WatchSubOp.PING:
            if who not in watchers:
                return -errno.ENOTCONN
            return 0 if (oid, who) in world.connected else -errno.ETIMEDOUT
        if request in world.executed:
            return 0
        if params.sub_op == WatchSubOp.RECONNECT and who not in watchers:
            return -errno.ENOTCONN
        world.executed.add(request)
        if params.sub_op == WatchSubOp.UNWATCH:
            watchers.discard(who)
            world.connected.pop((oid, who), None)
            for notify_id, running in list(world.notifies.items()):
                if running.oid == oid:
                    running.waiting.discard(who)
                    self._maybe_complete(notify_id, running)
            return 0
        watchers.add(who)
        world.connected[(oid, who)] = connection
        for notify_id, running in world.notifies.items():
            if running.oid == oid and who in running.waiting:
                self._tell(notify_id, running, who)
        return 0

    def _notify(self, connection: Connection, message: MOSDOp, cookie: int) -> int:
        world = self.world
        world.notify_id += 1
        data = NotifyRequest.from_bytes(message.ops[0].indata).payload
        waiting = set(world.watchers.get(message.oid, ()))
        running = world.notifies[world.notify_id] = Running(message.oid, connection, cookie, data, waiting)
        for who in sorted(waiting):
            self._tell(world.notify_id, running, who)
        self._maybe_complete(world.notify_id, running)
        return world.notify_id

    def _tell(self, notify_id: int, running: Running, who: WatcherId) -> None:
        connection = self.world.connected.get((running.oid, who))
        if connection is not None:
            told = MWatchNotify(
                opcode=NotifyCode.NOTIFY, cookie=who.cookie, notify_id=notify_id, payload=running.data, notifier=1
            )
            self.outbox.append((connection, told))

    def _ack(self, connection: Connection, oid: str, ack: NotifyAck) -> None:
        who = WatcherId(connection.peer_name.number, ack.cookie)
        running = self.world.notifies.get(ack.notify_id)
        if running is not None and who in running.waiting:
            running.waiting.discard(who)
            running.answers[who] = ack.payload
            self._maybe_complete(ack.notify_id, running)

    def _maybe_complete(self, notify_id: int, running: Running) -> None:
        if not running.waiting:
            del self.world.notifies[notify_id]
            data = NotifyReplies(running.answers).to_bytes()
            over = MWatchNotify(opcode=NotifyCode.COMPLETE, cookie=running.cookie, notify_id=notify_id, data=data)
            self.outbox.append((running.connection, over))

    def let_go(self) -> None:
        if self.outbox:
            connection, message = self.outbox.pop(0)
            connection.send_message(message)


class Simulation:
    """The client's side."""

    def __init__(self, dice: random.Random, cluster: FakeCluster, world: Watchers, osds: list[WatchOsd]) -> None:
        self.dice = dice
        self.cluster = cluster
        self.world = world
        self.osds = osds
        self.tasks: set[asyncio.Task[None]] = set()
        self.watches: list[Watch] = []
        self.told: dict[int, list[bytes]] = {}
        self.notified = 0
        self.errors: list[Error] = []

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _callback(self, notification: Notification) -> bytes:
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)
        self.told.setdefault(notification.cookie, []).append(notification.data)
        return b"<" + notification.data + b">"

    async def _watch(self, oid: str) -> None:
        self.watches.append(await self.cluster.ioctx.watch(oid, self._callback, on_error=self.errors.append))

    async def _notify(self, oid: str, data: bytes) -> None:
        result: NotifyResult = await self.cluster.ioctx.notify(oid, data)
        assert not result.missed
        for who, answer in result.answers.items():
            assert answer == b"<" + data + b">"
            assert data in self.told[who.cookie]
        self.notified += 1

    async def _unwatch(self, watch: Watch) -> None:
        if watch in self.watches:
            self.watches.remove(watch)
        await watch.unwatch()

    def act(self) -> None:
        dice = self.dice
        oid = f"object {dice.randrange(OBJECTS)}"
        kind = dice.choices(("watch", "notify", "write", "unwatch", "cancel"), (3, 6, 3, 2, 2))[0]
        if kind == "watch":
            self._start(self._watch(oid))
        elif kind == "notify":
            self._start(self._notify(oid, dice.randbytes(4)))
        elif kind == "write":
            self.cluster.ioctx.aio_operate(oid, WriteOp().append(b"x"))
        elif kind == "unwatch" and self.watches:
            self._start(self._unwatch(dice.choice(self.watches)))
        elif kind == "cancel" and self.tasks:
            dice.choice(sorted(self.tasks, key=lambda task: task.get_name())).cancel()

    def chaos(self) -> None:
        dice, world = self.dice, self.world
        kind = dice.choices(("cut", "down", "up", "pause", "full", "resume", "map"), (5, 2, 6, 1, 1, 5, 3))[0]
        if kind == "cut":
            dice.choice(self.osds).cut()
        elif kind in ("down", "up"):
            number = dice.randrange(2)
            if world.mon.newest.is_up(number) is not (kind == "up"):
                world.set_osd(number, kind == "up")
        else:
            world.change_map(kind)

    def let_go(self) -> bool:
        for osd in self.osds:
            while osd.outbox:
                osd.let_go()
        return not self.tasks and not any(osd.outbox for osd in self.osds)

    async def run(self) -> None:
        dice = self.dice
        for _ in range(STEPS):
            if dice.random() < 0.5:
                self.act()
            if dice.random() < 0.7:
                dice.choice(self.osds).let_go()
            if dice.random() < 0.08:
                self.chaos()
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
        self.world.mon.set_flags(MapFlag(0))
        for number in range(2):
            if not self.world.mon.newest.is_up(number):
                self.world.set_osd(number, up=True)
        self.world.tell_all_maps()
        await eventually(self.let_go, 20)

    async def settled(self) -> None:
        """Nothing is on its way."""
        objecter = self.cluster.client.objecter

        def quiet() -> bool:
            self.let_go()
            sessions = (*objecter.sessions.values(), objecter.homeless)
            return not any(session.ops for session in sessions) and len(objecter.lingers) == len(self.watches)

        await eventually(quiet, 20)

    def registered(self) -> set[tuple[str, int]]:
        return {(oid, who.cookie) for oid, found in self.world.watchers.items() for who in found}


@pytest.mark.parametrize("seed", range(12))
async def test_watches_survive_and_leave_nothing(seed: int) -> None:
    dice = random.Random(seed)
    network = LoopbackNetwork()
    mon = FakeMon(network, "mon.0", first_map())
    world = Watchers(mon)
    osds = [WatchOsd(world, network, number) for number in range(2)]
    conf = RadosConf(inflight_ops_max=dice.choice((3, 1000)), tick_interval_s=dice.choice((0.03, 5.0)))
    async with Rados(LoopbackTransport(network), conf=conf) as client, client.open_ioctx("rbd") as ioctx:
        cluster = FakeCluster(network, mon, [], client)
        cluster.ioctx = ioctx
        simulation = Simulation(dice, cluster, world, osds)
        await simulation.run()
        await simulation.settled()
        assert not simulation.errors
        assert simulation.notified > 5
        assert simulation.registered() == {(watch.oid, watch.cookie) for watch in simulation.watches}
        assert len(world.connected) == len(simulation.watches), "registered on connections that are there"
        assert all(watch.error is None for watch in simulation.watches)
        ends = asyncio.gather(*(watch.unwatch() for watch in simulation.watches))
        simulation.watches.clear()
        await simulation.settled()
        await ends
        assert not simulation.registered()
        cluster.assert_nothing_leaked()
        assert len(client.objecter.lingers) == 0
    for messenger in (mon.messenger, *(osd.messenger for osd in osds)):
        await messenger.shutdown()
