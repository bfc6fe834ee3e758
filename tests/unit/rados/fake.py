"""A scripted cluster on the loopback network: a monitor and OSDs that do what the test says, and record all.

It knows no objects: the client is tested here, not a store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from cove.messenger import Connection, Dispatcher, LoopbackConnection, LoopbackMessenger, LoopbackNetwork
from cove.rados import IoCtx, LoopbackTransport, Rados, RadosConf
from cove.wire.address import EntityAddr
from cove.wire.messages import (
    Message,
    MMonGetVersion,
    MMonGetVersionReply,
    MMonSubscribe,
    MOSDMap,
    MOSDOp,
    MOSDOpReply,
    MPoolOp,
    MPoolOpReply,
    MStatfs,
    MStatfsReply,
    PoolOpCode,
    SubscribeFlag,
    Subscription,
)
from cove.wire.osdmap import IN, USUAL_FLAGS, MapFlag, OSDMap, PgPool, PoolFlag, simple_osdmap
from cove.wire.osdmap_codec import encode_osdmap
from cove.wire.types import EntityName, EntityType

FSID = UUID("00000000-0000-4000-8000-000000000001")
OSD_ADDRESSES = ("v2:127.0.0.1:6800/1", "v2:127.0.0.1:6801/2")


async def eventually(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Run the event loop until the condition holds."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.001)


async def settle(turns: int = 20) -> None:
    """Let everything that is under way in the event loop arrive."""
    for _ in range(turns):
        await asyncio.sleep(0)


class FakeMon(Dispatcher):
    """Hands out maps as subscribed; answers the rest unless told to be silent."""

    def __init__(self, network: LoopbackNetwork, address: str, first: OSDMap) -> None:
        self.network = network
        self.messenger = LoopbackMessenger(network, EntityName(EntityType.MON, 0))
        self.messenger.add_dispatcher_tail(self)
        self.messenger.bind(address)
        self.maps = {first.epoch: first}
        self.subs: dict[Connection, Subscription] = {}
        self.received: list[Message] = []
        self.silent: set[type[Message]] = set()
        self.oldest = 1
        self.encoded: dict[int, bytes] = {}

    @property
    def newest(self) -> OSDMap:
        return self.maps[max(self.maps)]

    def publish(self, **changes: object) -> OSDMap:
        """The next epoch, with these changes; subscribers get it."""
        newest = self.newest
        osdmap = replace(newest, epoch=newest.epoch + 1, **changes)  # type: ignore[arg-type]
        self.maps[osdmap.epoch] = osdmap
        for connection in list(self.subs):
            self._serve(connection)
        return osdmap

    def full(self, epoch: int) -> bytes:
        """The bytes of one epoch's map."""
        if epoch not in self.encoded:
            self.encoded[epoch] = encode_osdmap(self.maps[epoch])
        return self.encoded[epoch]

    def set_flags(self, flags: MapFlag) -> OSDMap:
        return self.publish(flags=flags | USUAL_FLAGS)

    def set_pool(self, number: int, **changes: object) -> OSDMap:
        pools = dict(self.newest.pools)
        pools[number] = replace(pools[number], **changes)  # type: ignore[arg-type]
        return self.publish(pools=pools)

    def drop_pool(self, number: int) -> OSDMap:
        return self.publish(
            pools={k: v for k, v in self.newest.pools.items() if k != number},
            pool_names={k: v for k, v in self.newest.pool_names.items() if k != number},
        )

    def add_pool(self, number: int, name: str) -> OSDMap:
        newest = self.newest
        return self.publish(pools={**newest.pools, number: a_pool(8)}, pool_names={**newest.pool_names, number: name})

    def set_osd(self, number: int, up: bool, address: str | None = None) -> OSDMap:
        states, addrs = list(self.newest.osd_state), list(self.newest.client_addrs)
        states[number] = 3 if up else 1
        addrs[number] = (EntityAddr.parse(address or OSD_ADDRESSES[number]),)
        return self.publish(osd_state=states, client_addrs=addrs)

    def send_maps(self, connection: Connection, epochs: list[int]) -> None:
        connection.send_message(
            MOSDMap(
                fsid=self.newest.fsid,
                fulls={epoch: self.full(epoch) for epoch in epochs},
                oldest=self.oldest,
                newest=max(self.maps),
            )
        )

    def _serve(self, connection: Connection) -> None:
        sub = self.subs.get(connection)
        newest = max(self.maps)
        if sub is None or newest < sub.start:
            return
        wanted = [newest] if not sub.start else [e for e in sorted(self.maps) if e >= sub.start]
        self.send_maps(connection, wanted)
        if sub.flags & SubscribeFlag.ONETIME:
            del self.subs[connection]
        else:
            self.subs[connection] = Subscription(newest + 1, sub.flags)

    def of_type(self, kind: type) -> list:
        return [message for message in self.received if type(message) is kind]

    def starts(self, what: str) -> list[int]:
        """First epochs of the subscriptions to a map that came."""
        return [message.what[what].start for message in self.of_type(MMonSubscribe) if what in message.what]

    def ms_handle_reset(self, connection: Connection) -> None:
        self.subs.pop(connection, None)

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        self.received.append(message)
        if type(message) in self.silent:
            return True
        if isinstance(message, MMonSubscribe):
            if "osdmap" in message.what:
                self.subs[connection] = message.what["osdmap"]
                self._serve(connection)
        elif isinstance(message, MMonGetVersion):
            connection.send_message(
                MMonGetVersionReply(
                    tid=message.tid, handle=message.handle, version=max(self.maps), oldest_version=self.oldest
                )
            )
        elif isinstance(message, MPoolOp):
            self._pool_op(connection, message)
        elif isinstance(message, MStatfs):
            connection.send_message(
                MStatfsReply(tid=message.tid, fsid=FSID, kb=1000, kb_used=100, kb_avail=900, num_objects=7)
            )
        return True

    def _pool_op(self, connection: Connection, message: MPoolOp) -> None:
        code = 0
        if message.op == PoolOpCode.CREATE:
            if self.newest.pool_id(message.name) is not None:
                code = -17
            else:
                self.add_pool(max(self.newest.pools, default=0) + 1, message.name)
        elif message.pool in self.newest.pools:
            self.drop_pool(message.pool)
        else:
            code = -2
        epoch = self.newest.epoch
        connection.send_message(MPoolOpReply(tid=message.tid, fsid=FSID, reply_code=code, epoch=epoch))


class FakeOsd(Dispatcher):
    """Records requests, and answers them at once (`auto`) or when the test says."""

    def __init__(self, network: LoopbackNetwork, number: int, address: str | None = None, *, auto: bool) -> None:
        self.messenger = LoopbackMessenger(network, EntityName(EntityType.OSD, number))
        self.messenger.add_dispatcher_tail(self)
        self.messenger.bind(address or OSD_ADDRESSES[number])
        self.auto = auto
        self.requests: list[MOSDOp] = []
        self.connections: list[Connection] = []
        self.accepted: list[Connection] = []
        self.resets = 0
        self.answer_with: Callable[[MOSDOp], int] = lambda request: 0
        self._version = 0

    def ms_handle_accept(self, connection: Connection) -> None:
        self.accepted.append(connection)

    def ms_handle_reset(self, connection: Connection) -> None:
        self.resets += 1

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        assert isinstance(message, MOSDOp)
        self.requests.append(message)
        self.connections.append(connection)
        if self.auto:
            self.reply(len(self.requests) - 1, self.answer_with(message))
        return True

    def reply(
        self,
        index: int,
        result: int = 0,
        *,
        attempt: int | None = None,
        tid: int | None = None,
        outdata: bytes = b"",
        connection: Connection | None = None,
    ) -> None:
        """Answer the request with that index in `requests`."""
        request = self.requests[index]
        self._version += 1
        if outdata:
            request.ops[0].outdata = outdata
        (connection or self.connections[index]).send_message(
            MOSDOpReply(
                tid=request.tid if tid is None else tid,
                oid=request.oid,
                pg=request.pg,
                flags=request.flags,
                result=result,
                epoch=request.epoch,
                ops=request.ops,
                retry_attempt=request.retry_attempt if attempt is None else attempt,
                user_version=self._version,
            )
        )

    async def has(self, count: int) -> None:
        """Wait until that many requests have come."""
        await eventually(lambda: len(self.requests) >= count)

    def cut(self) -> None:
        """Lose the newest connection."""
        connection = self.accepted[-1]
        assert isinstance(connection, LoopbackConnection)
        connection.cut()


class FakeCluster:
    """One monitor, two OSDs (the second takes over when the first is down), one connected client."""

    def __init__(self, network: LoopbackNetwork, mon: FakeMon, osds: list[FakeOsd], client: Rados) -> None:
        self.network = network
        self.mon = mon
        self.osds = osds
        self.client = client
        self.ioctx: IoCtx

    @property
    def osd(self) -> FakeOsd:
        return self.osds[0]

    def assert_nothing_leaked(self) -> None:
        """No budget, tid, chain, time-out or write may be left."""
        objecter = self.client.objecter
        assert objecter.throttle.ops == 0
        assert objecter.throttle.bytes == 0
        assert objecter.throttle.waiting == 0
        assert not objecter.live_ops()
        assert len(objecter.wheel) == 0
        for session in (*objecter.sessions.values(), objecter.homeless):
            assert not session.ops
        assert not self.ioctx._writes


NO_FLAGS = MapFlag(0)


def a_pool(pg_num: int, flags: PoolFlag = PoolFlag.HASHPSPOOL) -> PgPool:
    return PgPool(pg_num=pg_num, flags=flags, size=2, min_size=1)


def first_map(flags: MapFlag = NO_FLAGS, pool_flags: PoolFlag = PoolFlag.HASHPSPOOL) -> OSDMap:
    """OSD 1 has no primary affinity: it is primary only while OSD 0 is down."""
    pools = {1: a_pool(32, pool_flags), 2: a_pool(8)}
    names = {1: "rbd", 2: "images"}
    osdmap = simple_osdmap(FSID, 1, pools, names, dict(enumerate(OSD_ADDRESSES)), flags=flags | USUAL_FLAGS)
    return replace(osdmap, primary_affinity=[IN, 0])


@asynccontextmanager
async def running_cluster(
    *, auto: bool = True, conf: RadosConf | None = None, osdmap: OSDMap | None = None
) -> AsyncIterator[FakeCluster]:
    network = LoopbackNetwork()
    mon = FakeMon(network, "mon.0", osdmap or first_map())
    osds = [FakeOsd(network, number, auto=auto) for number in range(2)]
    async with Rados(LoopbackTransport(network), conf=conf) as client:
        cluster = FakeCluster(network, mon, osds, client)
        async with client.open_ioctx("rbd") as ioctx:
            cluster.ioctx = ioctx
            yield cluster
    for messenger in (mon.messenger, *(osd.messenger for osd in osds)):
        await messenger.shutdown()
