"""The monitor of the store, a thin one: the OSD map, subscriptions to it, and pools.

A change of the map is one more entry of the layer that is being filled (`pipeline.py`): it counts, is told and is
answered when it is durable. Deleting a pool takes it off the map at once; its objects go in the background, in
bounded steps, and a restart carries on with it.

Source: Ceph's mon/OSDMonitor (behaviour of MPoolOp, subscriptions), messages/MMon*.h.
"""

from __future__ import annotations

import asyncio
import errno
import json
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import structlog

from ..messenger import Connection, Dispatcher
from ..wire.messages import (
    Message,
    MMonGetVersion,
    MMonGetVersionReply,
    MMonSubscribe,
    MOSDMap,
    MPoolOp,
    MPoolOpReply,
    MStatfs,
    MStatfsReply,
    PoolOpCode,
    SubscribeFlag,
)
from ..wire.osdmap import USUAL_FLAGS, OSDMap, PgPool, PoolFlag, simple_osdmap
from ..wire.osdmap_codec import encode_osdmap
from .errors import StoreError
from .keys import pool_prefix
from .layer import Layer
from .pipeline import RETRY, CommitPipeline
from .state import State

log = structlog.get_logger(__name__)

PG_NUM = 32
INITIAL_POOLS = ("rbd", "images")
POOL_NAME_MAX = 255
OSD_ADDRESS = "v2:127.0.0.1:6800/1"
"""Of the one OSD, on the loopback network as in the map."""
MON_ADDRESS = "mon.0"
PURGE_OBJECTS = 32
"""Objects of a deleted pool that are removed in one commit."""
PURGE_RETRY_S = 1.0
_MAP_KEY = b"osdmap"


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What the monitor keeps: the map, the number of the next pool, and the deleted pools that still have objects."""

    osdmap: OSDMap
    next_pool: int
    deleted: tuple[int, ...] = ()

    def pack(self) -> bytes:
        """The durable form."""
        pools = {
            str(number): {
                "name": self.osdmap.pool_names[number],
                "pg_num": pool.pg_num,
                "flags": int(pool.flags),
                "snap_seq": pool.snap_seq,
            }
            for number, pool in self.osdmap.pools.items()
        }
        return json.dumps(
            {
                "epoch": self.osdmap.epoch,
                "flags": self.osdmap.flags & ~USUAL_FLAGS,
                "pools": pools,
                "next_pool": self.next_pool,
                "deleted": self.deleted,
            }
        ).encode()

    @staticmethod
    def unpack(fsid: UUID, record: bytes) -> ClusterState:
        """The reverse of `pack`."""
        data = json.loads(record)
        pools = {
            int(number): a_pool(pg_num=pool["pg_num"], flags=pool["flags"], snap_seq=pool["snap_seq"])
            for number, pool in data["pools"].items()
        }
        names = {int(number): pool["name"] for number, pool in data["pools"].items()}
        osdmap = _osdmap(fsid, data["epoch"], pools, names, data["next_pool"], data["flags"])
        return ClusterState(osdmap, data["next_pool"], tuple(data["deleted"]))

    @staticmethod
    def initial(fsid: UUID) -> ClusterState:
        """A new cluster's: epoch 1, with the pools that everybody expects."""
        names = dict(enumerate(INITIAL_POOLS, start=1))
        pools = {number: a_pool() for number in names}
        return ClusterState(_osdmap(fsid, 1, pools, names, len(pools) + 1), len(pools) + 1)

    def with_pools(
        self, pools: dict[int, PgPool], names: dict[int, str], next_pool: int, deleted: tuple[int, ...]
    ) -> ClusterState:
        """The next epoch."""
        osdmap = replace(
            self.osdmap, epoch=self.osdmap.epoch + 1, pools=pools, pool_names=names, pool_max=next_pool - 1
        )
        return ClusterState(osdmap, next_pool, deleted)


def a_pool(pg_num: int = PG_NUM, flags: int = PoolFlag.HASHPSPOOL, snap_seq: int = 0) -> PgPool:
    """A pool as the store has them: one copy, on the one OSD."""
    return PgPool(pg_num=pg_num, size=1, min_size=1, flags=flags, snap_seq=snap_seq)


def _osdmap(
    fsid: UUID, epoch: int, pools: dict[int, PgPool], names: dict[int, str], next_pool: int, flags: int = 0
) -> OSDMap:
    """`flags` are those that an operator sets; the ones of every cluster come with them."""
    return simple_osdmap(fsid, epoch, pools, names, {0: OSD_ADDRESS}, flags=flags | USUAL_FLAGS, pool_max=next_pool - 1)


class Monitor(Dispatcher):
    """Answers clients' questions about the cluster, and changes it."""

    def __init__(self, state: State, pipeline: CommitPipeline) -> None:
        self._state = state
        self._pipeline = pipeline
        self._fsid = state.engine.fsid
        record = state.engine.get_meta(_MAP_KEY)
        self._durable = ClusterState.unpack(self._fsid, record) if record else ClusterState.initial(self._fsid)
        self._newest = self._durable
        """With the changes that are not durable yet; what the next change builds on."""
        self._encoded = 0, b""
        """The map as it is sent, and its epoch."""
        self._subscribers: dict[Connection, int] = {}
        self._purging: asyncio.Task[None] | None = None
        self._purge_wanted = asyncio.Event()
        pipeline.on_lost.append(self._lost)

    def _lost(self) -> None:
        self._newest = self._durable

    @property
    def osdmap(self) -> OSDMap:
        """The map, as far as it is durable."""
        return self._durable.osdmap

    async def start(self) -> None:
        """Write the first map, if there is none, and carry on with the removal of deleted pools."""
        if self._state.engine.get_meta(_MAP_KEY) is None:
            self._state.layers[-1].meta[_MAP_KEY] = self._durable.pack()
            self._pipeline.schedule()
            await self._pipeline.drain()
        self._purge_wanted.set()
        self._purging = asyncio.create_task(self._purge_pools(), name="cove-store-purge")

    async def stop(self) -> None:
        """Stop removing; a later start carries on."""
        if self._purging is not None:
            self._purging.cancel()
            await asyncio.gather(self._purging, return_exceptions=True)

    # messages

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Answer what is for a monitor."""
        if isinstance(message, MMonSubscribe):
            self._subscribe(connection, message)
        elif isinstance(message, MMonGetVersion):
            self._get_version(connection, message)
        elif isinstance(message, MPoolOp):
            self._pool_op(connection, message)
        elif isinstance(message, MStatfs):
            self._statfs(connection, message)
        else:
            return False
        return True

    def ms_handle_reset(self, connection: Connection) -> None:
        """Forget the subscriptions of a lost connection."""
        self._subscribers.pop(connection, None)

    def share_map(self, connection: Connection) -> None:
        """Send the newest map."""
        epoch = self.osdmap.epoch
        if self._encoded[0] != epoch:
            self._encoded = epoch, encode_osdmap(self.osdmap)
        connection.send_message(MOSDMap(fsid=self._fsid, fulls={epoch: self._encoded[1]}, oldest=epoch, newest=epoch))

    def _subscribe(self, connection: Connection, message: MMonSubscribe) -> None:
        wanted = message.what.get("osdmap")
        if wanted is None:
            return
        epoch = self.osdmap.epoch
        once = bool(wanted.flags & SubscribeFlag.ONETIME)
        if wanted.start <= epoch:
            self.share_map(connection)
            if once:
                return
        # A one-time subscription is kept as a negative number: it ends with the first map that is sent.
        start = max(wanted.start, epoch + 1)
        self._subscribers[connection] = -start if once else start

    def _publish(self) -> None:
        epoch = self.osdmap.epoch
        for connection, start in list(self._subscribers.items()):
            if not connection.is_connected:
                del self._subscribers[connection]
            elif abs(start) <= epoch:
                self.share_map(connection)
                if start < 0:
                    del self._subscribers[connection]
                else:
                    self._subscribers[connection] = epoch + 1

    def _get_version(self, connection: Connection, message: MMonGetVersion) -> None:
        versions = {"osdmap": (self.osdmap.epoch, self.osdmap.epoch), "monmap": (1, 1)}
        if message.what in versions:
            newest, oldest = versions[message.what]
            connection.send_message(
                MMonGetVersionReply(handle=message.handle, version=newest, oldest_version=oldest, tid=message.tid)
            )

    def _statfs(self, connection: Connection, message: MStatfs) -> None:
        """What is used, and what the file system has left; all objects count, whatever the pool asked for."""
        engine, space = self._state.engine, self._pipeline.space
        used, available = space.used_bytes(), space.room_bytes()
        connection.send_message(
            MStatfsReply(
                tid=message.tid,
                fsid=self._fsid,
                kb=(used + available) // 1024,
                kb_used=used // 1024,
                kb_avail=available // 1024,
                num_objects=engine.object_count(),
            )
        )

    # pools

    def _pool_op(self, connection: Connection, message: MPoolOp) -> None:
        code, changed = self._plan(message)
        if changed is None:
            pending = self._pending_layer()
            if code == 0 and pending is not None:
                # it is as wanted, but not durable yet; if that is lost, look again
                pending.done.append(
                    lambda lost: self._pool_op(connection, message) if lost else self._answer(connection, message, 0)
                )
            else:
                self._answer(connection, message, code)
            return

        def done(code: int) -> None:
            if code == RETRY:
                self._pool_op(connection, message)
            elif code:
                self._answer(connection, message, code)
            else:
                self._durable = changed
                self._answer(connection, message, 0)
                self._publish()
                if changed.deleted:
                    self._purge_wanted.set()

        self._change(changed)
        self._state.layers[-1].done.append(done)

    def _pending_layer(self) -> Layer | None:
        """The newest layer with a change of ours that is not durable; None if all of them are."""
        return next((layer for layer in reversed(self._state.layers) if _MAP_KEY in layer.meta), None)

    def _change(self, changed: ClusterState) -> None:
        self._newest = changed
        self._state.layers[-1].meta[_MAP_KEY] = changed.pack()
        self._pipeline.schedule()

    def _plan(self, message: MPoolOp) -> tuple[int, ClusterState | None]:
        """What a request leads to: a code and nothing, or the changed state. What is as wanted already is no error."""
        if self._pipeline.failed:
            return self._pipeline.failed, None
        if message.fsid != self._fsid:
            return -errno.EINVAL, None
        current = self._newest
        pools, names = dict(current.osdmap.pools), dict(current.osdmap.pool_names)
        if message.op == PoolOpCode.CREATE:
            if not message.name or len(message.name) > POOL_NAME_MAX or not message.name.isprintable():
                return -errno.EINVAL, None
            if current.osdmap.pool_id(message.name) is not None:
                return 0, None
            pools[current.next_pool] = a_pool()
            names[current.next_pool] = message.name
            return 0, current.with_pools(pools, names, current.next_pool + 1, current.deleted)
        if message.op == PoolOpCode.DELETE:
            if pools.pop(message.pool, None) is None:
                return 0, None
            names.pop(message.pool, None)
            return 0, current.with_pools(pools, names, current.next_pool, (*current.deleted, message.pool))
        if message.pool not in pools:
            return -errno.ENOENT, None
        return -errno.EOPNOTSUPP, None  # snapshots come later

    def _answer(self, connection: Connection, message: MPoolOp, code: int) -> None:
        connection.send_message(
            MPoolOpReply(tid=message.tid, fsid=self._fsid, reply_code=code, epoch=self.osdmap.epoch)
        )

    # removal of deleted pools

    async def _purge_pools(self) -> None:
        while True:
            await self._purge_wanted.wait()
            self._purge_wanted.clear()
            while self._durable.deleted and not self._pipeline.failed:
                try:
                    await self._purge_step(self._durable.deleted[0])
                except Exception as error:
                    log.warning("pool_purge_failed", pool=self._durable.deleted[0], error=repr(error))
                    await asyncio.sleep(PURGE_RETRY_S)

    async def _purge_step(self, pool: int) -> None:
        """Remove some objects; when there are none left, the pool is forgotten."""
        await self._pipeline.drain()
        objects = self._state.engine.object_keys(pool_prefix(pool), PURGE_OBJECTS)
        layer = self._state.layers[-1]
        for key, info in objects:
            layer.objects[key] = None
            layer.purged.append(info.number)
        if not objects:
            newest = self._newest
            self._change(replace(newest, deleted=tuple(number for number in newest.deleted if number != pool)))
            layer.done.append(partial(self._forgotten, pool))
            log.info("pool_purged", pool=pool)
        committed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        layer.done.append(lambda code: None if committed.done() else committed.set_result(code))
        self._pipeline.schedule()
        code = await committed
        if code < 0:
            raise StoreError(f"{len(objects)} objects could not be removed: {errno.errorcode.get(-code, str(code))}")

    def _forgotten(self, pool: int, code: int) -> None:
        if not code:
            left = tuple(number for number in self._durable.deleted if number != pool)
            self._durable = replace(self._durable, deleted=left)
