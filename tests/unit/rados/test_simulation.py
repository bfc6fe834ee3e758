"""One seed drives a client through cuts, fail-overs, pauses, full flags and cancellations.

Two OSDs serve the same objects, by the rules that real ones keep to: only the primary executes, requests from before
the present interval are dropped, a repeated tid is answered but not executed again, answers come late and in any
order. Afterwards: what was acknowledged is there exactly once and in submission order, what was cancelled at most
once, callbacks came in order except before those of operations that were held back, and nothing leaked.
"""

from __future__ import annotations

import asyncio
import functools
import random

import pytest

from cove.messenger import Connection, LoopbackNetwork
from cove.rados import AioCompletion, LoopbackTransport, Rados, RadosConf, ReadOp, WriteOp
from cove.wire.messages import MOSDOp, MOSDOpReply
from cove.wire.osd_ops import OpCode
from cove.wire.osdmap import MapFlag
from cove.wire.types import EntityName

from .fake import FakeCluster, FakeMon, eventually, first_map
from .simulated import SimOsd, World

STEPS = 400
OBJECTS = 3


class Logs(World):
    """The objects, and the requests executed."""

    def __init__(self, mon: FakeMon) -> None:
        super().__init__(mon)
        self.logs: dict[str, list[bytes]] = {}
        self.executed: dict[tuple[EntityName, int], int] = {}
        self.version = 0


class LogOsd(SimOsd):
    """One OSD. `replies` wait until the simulation lets them go."""

    world: Logs

    def __init__(self, world: Logs, network: LoopbackNetwork, number: int) -> None:
        super().__init__(world, network, number)
        self.replies: list[tuple[Connection, MOSDOpReply]] = []

    def execute(self, connection: Connection, message: MOSDOp, reply: MOSDOpReply) -> None:
        world, op = self.world, message.ops[0]
        log = world.logs.setdefault(message.oid, [])
        if op.code == OpCode.APPEND:
            request = (connection.peer_name, message.tid)
            if request not in world.executed:
                world.version += 1
                world.executed[request] = world.version
                log.append(bytes(op.indata))
            reply.user_version = world.executed[request]
        else:
            op.outdata = b"".join(log)
        self.replies.append((connection, reply))

    def let_go(self, dice: random.Random) -> None:
        if self.replies:
            connection, reply = self.replies.pop(dice.randrange(len(self.replies)))
            connection.send_message(reply)


class Simulation:
    """The client's side: what was submitted, and what became of it."""

    def __init__(self, dice: random.Random, cluster: FakeCluster, world: Logs, osds: list[LogOsd]) -> None:
        self.dice = dice
        self.cluster = cluster
        self.world = world
        self.osds = osds
        self.submitted: dict[str, list[bytes]] = {}
        self.told: dict[str, list[bytes]] = {}
        self.overtaken = 0
        self.problems: list[str] = []
        self.cancelled: set[bytes] = set()
        self.live: list[tuple[bytes, AioCompletion]] = []
        self._number = 0

    def submit(self) -> None:
        oid = f"log {self.dice.randrange(OBJECTS)}"
        if self.dice.random() < 0.2:
            self.cluster.ioctx.aio_operate(oid, ReadOp().read())
            return
        self._number += 1
        data = self._number.to_bytes(4, "big")
        self.submitted.setdefault(oid, []).append(data)
        completion = self.cluster.ioctx.aio_operate(oid, WriteOp().append(data))
        completion.on_complete(functools.partial(self._tell, oid, data))
        self.live.append((data, completion))

    def _tell(self, oid: str, data: bytes, completion: AioCompletion) -> None:
        if data not in self.cancelled:
            if completion.get_return_value():
                self.problems.append(f"{data.hex()} has failed")
            self.told.setdefault(oid, []).append(data)
            for op in self.cluster.client.objecter.live_ops():
                if op.key[1] == oid and op.is_write and bytes(op.ops[0].indata) < data:
                    self.overtaken += 1
                    if not op.is_held:
                        self.problems.append(f"{data.hex()} was told before {op}, which an OSD has in hand")

    def cancel(self) -> None:
        self.live = [entry for entry in self.live if not entry[1].is_complete()]
        if self.live:
            data, completion = self.dice.choice(self.live)
            self.cancelled.add(data)
            completion.cancel()
            if completion.get_return_value() == 0:
                # its answer had come and only waited for its turn
                self.told.setdefault("early", []).append(data)

    def chaos(self) -> None:
        dice, world = self.dice, self.world
        kind = dice.choices(
            ("cut", "down", "up", "pause", "full", "resume", "map", "cancel"), (4, 2, 6, 1, 1, 4, 3, 4)
        )[0]
        if kind == "cut":
            dice.choice(self.osds).cut(dice)
        elif kind in ("down", "up"):
            number = dice.randrange(2)
            if world.mon.newest.is_up(number) is not (kind == "up"):
                world.set_osd(number, kind == "up")
                if kind == "down" and dice.random() < 0.5:
                    self.osds[number].replies.clear()
        elif kind == "cancel":
            self.cancel()
        else:
            world.change_map(kind)

    async def run(self) -> None:
        for _ in range(STEPS):
            dice = self.dice
            if dice.random() < 0.6:
                self.submit()
            if dice.random() < 0.5:
                dice.choice(self.osds).let_go(dice)
            if dice.random() < 0.1:
                self.chaos()
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)
        self.world.mon.set_flags(MapFlag(0))
        for number in range(2):
            self.world.set_osd(number, up=True)
        self.world.tell_all_maps()
        objecter = self.cluster.client.objecter

        def drained() -> bool:
            for osd in self.osds:
                osd.let_go(self.dice)
            return not objecter.live_ops()

        await eventually(drained, 20)


@pytest.mark.parametrize("seed", range(10))
async def test_nothing_acknowledged_is_lost_or_repeated(seed: int) -> None:
    dice = random.Random(seed)
    network = LoopbackNetwork()
    mon = FakeMon(network, "mon.0", first_map())
    world = Logs(mon)
    osds = [LogOsd(world, network, number) for number in range(2)]
    conf = RadosConf(inflight_ops_max=dice.choice((3, 1000)))
    async with (
        Rados(LoopbackTransport(network), conf=conf) as client,
        client.open_ioctx("rbd") as ioctx,
    ):
        cluster = FakeCluster(network, mon, [], client)
        cluster.ioctx = ioctx
        simulation = Simulation(dice, cluster, world, osds)
        await simulation.run()
        assert not simulation.problems
        early = set(simulation.told.pop("early", []))
        assert client.objecter.stats.submitted
        for oid, submitted in simulation.submitted.items():
            log = world.logs.get(oid, [])
            told = simulation.told.get(oid, [])
            assert sorted(told) == [data for data in submitted if data not in simulation.cancelled]
            assert simulation.overtaken or told == sorted(told)
            assert len(set(log)) == len(log), "nothing is executed twice"
            assert (set(told) | (early & set(submitted))) <= set(log), "what was acknowledged is there"
            assert log == sorted(log), "executed in submission order"
        cluster.assert_nothing_leaked()
    for messenger in (mon.messenger, *(osd.messenger for osd in osds)):
        await messenger.shutdown()
