"""Two OSDs under a simulation's control: what every simulation of a client has in common.

They keep to the rules that real ones keep to: only the primary executes, requests from before the present interval are
dropped, and who sends with an old map is sent the newer ones.
"""

from __future__ import annotations

import random
from abc import abstractmethod

from cove.messenger import Connection, Dispatcher, LoopbackConnection, LoopbackMessenger, LoopbackNetwork
from cove.wire.messages import Message, MOSDMap, MOSDOp, MOSDOpReply
from cove.wire.osdmap import MapFlag
from cove.wire.types import EntityName, EntityType

from .fake import OSD_ADDRESSES, FakeMon

FLAGS = {"pause": MapFlag.PAUSEWR | MapFlag.PAUSERD, "full": MapFlag.FULL, "resume": MapFlag(0)}


class World:
    """What both OSDs see: the map, and since when who is primary."""

    def __init__(self, mon: FakeMon) -> None:
        self.mon = mon
        self.interval_start = 1

    @property
    def primary(self) -> int:
        return next((number for number in range(2) if self.mon.newest.is_up(number)), -1)

    def set_osd(self, number: int, up: bool) -> None:
        before = self.primary
        osdmap = self.mon.set_osd(number, up)
        if self.primary != before:
            self.interval_start = osdmap.epoch

    def change_map(self, kind: str) -> None:
        """`pause`, `full`, `resume`; or `map`: a new epoch that changes nothing."""
        if kind == "map":
            self.mon.publish()
        elif self.mon.newest.flags != FLAGS[kind]:
            self.mon.set_flags(FLAGS[kind])

    def tell_all_maps(self) -> None:
        """As OSDs do when they notice: tell the clients."""
        for connection in list(self.mon.messenger.connections):
            self.mon.send_maps(connection, list(range(1, self.mon.newest.epoch + 1)))


class SimOsd(Dispatcher):
    """One OSD."""

    def __init__(self, world: World, network: LoopbackNetwork, number: int) -> None:
        self.world = world
        self.number = number
        self.messenger = LoopbackMessenger(network, EntityName(EntityType.OSD, number))
        self.messenger.add_dispatcher_tail(self)
        self.messenger.bind(OSD_ADDRESSES[number])

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        assert isinstance(message, MOSDOp)
        world, newest = self.world, self.world.mon.newest
        if message.epoch < newest.epoch:
            fulls = {epoch: world.mon.full(epoch) for epoch in range(message.epoch + 1, newest.epoch + 1)}
            connection.send_message(MOSDMap(fsid=newest.fsid, fulls=fulls, oldest=1, newest=newest.epoch))
        if world.primary == self.number and message.epoch >= world.interval_start:
            reply = MOSDOpReply(
                tid=message.tid,
                oid=message.oid,
                pg=message.pg,
                flags=message.flags,
                result=0,
                epoch=newest.epoch,
                ops=message.ops,
                retry_attempt=message.retry_attempt,
            )
            self.execute(connection, message, reply)
        return True

    @abstractmethod
    def execute(self, connection: Connection, message: MOSDOp, reply: MOSDOpReply) -> None:
        """Carry a request out, fill its answer in, and keep that until the simulation lets it go."""

    def cut(self, dice: random.Random | None = None) -> None:
        """Lose the connections; with dice, some of them."""
        for connection in list(self.messenger.connections):
            if dice is None or dice.random() < 0.7:
                assert isinstance(connection, LoopbackConnection)
                connection.cut()
