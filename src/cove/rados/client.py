"""Rados: the client of one cluster; it owns messenger, MonClient and Objecter, and opens io contexts.

    async with Rados(LoopbackTransport(network)) as cluster:
        async with cluster.open_ioctx("rbd") as ioctx:
            await ioctx.write_full("greeting", b"hello")

Source: Ceph's librados (names and meaning); its RadosClient.
"""

from __future__ import annotations

import asyncio
import errno
import functools
from types import TracebackType
from typing import NamedTuple, Self, cast
from uuid import UUID

import structlog

from ..messenger import Connection, Dispatcher, Messenger
from ..wire.messages import Message, MOSDMap, MPoolOp, MPoolOpReply, MStatfs, MStatfsReply, PoolOpCode
from ..wire.osdmap import OSDMap
from .conf import RadosConf
from .errors import InvalidArgument, NotConnected, TimedOut, make_error
from .ioctx import IoCtx
from .monclient import MonClient
from .objecter import Objecter
from .transport import Transport

log = structlog.get_logger(__name__)

POOL_NAME_BYTES_MAX = 250


class ClusterStat(NamedTuple):
    """Space in KiB and number of objects of the whole cluster."""

    kb: int
    kb_used: int
    kb_avail: int
    num_objects: int


class Rados(Dispatcher):
    """A client. All methods are to be called on the event loop on which `connect` ran."""

    def __init__(self, transport: Transport, *, name: str = "client.admin", conf: RadosConf | None = None) -> None:
        kind, _, who = name.partition(".")
        if kind != "client" or not who:
            raise InvalidArgument(f"name={name!r}: must be client.NAME, e.g. client.admin")
        self.transport = transport
        self.name = name
        self.conf = conf or RadosConf()
        self._messenger: Messenger | None = None
        self._monclient: MonClient | None = None
        self._objecter: Objecter | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()

    async def connect(self, timeout_s: float = 30.0) -> None:
        """Find a monitor and get the first map. Raises TimedOut, which names the monitors tried."""
        if self._objecter is not None:
            raise InvalidArgument(f"{self.name} is connected already")
        messenger = self._messenger = self.transport.create_messenger()
        monclient = self._monclient = MonClient(messenger, self.transport.mon_addresses)
        objecter = self._objecter = Objecter(messenger, monclient, self.conf)
        for dispatcher in (monclient, objecter, self):
            messenger.add_dispatcher_tail(dispatcher)
        try:
            deadline = asyncio.get_running_loop().time() + timeout_s
            monclient.start()
            await monclient.authenticate(timeout_s)
            objecter.start()
            await objecter.wait_for_map(1, max(deadline - asyncio.get_running_loop().time(), 0.0))
        except BaseException as problem:
            await self.shutdown()
            if isinstance(problem, TimedOut):
                tried = ", ".join(self.transport.mon_addresses)
                raise TimedOut(
                    f"{self.name}: no connection to the cluster within {timeout_s} s (monitors tried: {tried}): "
                    f"{problem}",
                    errno=errno.ETIMEDOUT,
                ) from None
            raise

    async def shutdown(self) -> None:
        """Fail what is in flight and close all connections. Twice is no error."""
        objecter, self._objecter = self._objecter, None
        monclient, self._monclient = self._monclient, None
        messenger, self._messenger = self._messenger, None
        if objecter is not None:
            objecter.shutdown()
        if monclient is not None:
            monclient.shutdown()
        if messenger is not None:
            await messenger.shutdown()

    @property
    def objecter(self) -> Objecter:
        """The Objecter. Raises NotConnected."""
        if self._objecter is None:
            raise NotConnected(f"{self.name} is not connected; call connect() first")
        return self._objecter

    @property
    def osdmap(self) -> OSDMap:
        """The newest map we have. Raises NotConnected."""
        osdmap = self.objecter.osdmap
        if osdmap is None:
            raise NotConnected(f"{self.name} has no OSD map yet; call connect() first")
        return osdmap

    @property
    def fsid(self) -> UUID:
        """The cluster's id."""
        return self.osdmap.fsid

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Last in the chain: maps end here, after the Objecter has seen them."""
        return isinstance(message, MOSDMap)

    # pools

    def open_ioctx(self, pool: str) -> IoCtx:
        """An io context for a pool: `async with`, or `await`, which raise ObjectNotFound if there is no such pool."""
        return IoCtx(self, pool)

    def pool_list(self) -> list[str]:
        """Names of the pools, in the order of their numbers."""
        return [pool.name for _, pool in sorted(self.osdmap.pools.items())]

    async def pool_lookup(self, name: str) -> int:
        """Number of a pool. Raises ObjectNotFound, after asking for the newest map."""
        number = self.osdmap.pool_id(name)
        if number is None:
            await self.objecter.wait_for_latest_map(self.conf.mon_op_timeout_s)
            number = self.osdmap.pool_id(name)
        if number is None:
            known = ", ".join(self.pool_list()) or "none"
            raise make_error(-errno.ENOENT, operation=f"look up pool {name!r}", detail=f"the pools are: {known}")
        return number

    async def pool_create(self, name: str) -> int:
        """Create a pool and return its number, once our map has it. Raises ObjectExists, OutcomeUnknown."""
        raw = name.encode("utf-8", "surrogateescape")
        if not raw or len(raw) > POOL_NAME_BYTES_MAX or any(byte < 0x20 or byte == 0x7F for byte in raw):
            raise InvalidArgument(
                f"pool name {name!r}: must have 1 to {POOL_NAME_BYTES_MAX} bytes and no control characters"
            )
        if self.osdmap.pool_id(name) is not None:
            raise make_error(-errno.EEXIST, operation=f"create pool {name!r}")
        await self._pool_op(f"create pool {name!r}", 0, PoolOpCode.CREATE, name)
        return await self.pool_lookup(name)

    async def pool_delete(self, name: str) -> None:
        """Delete a pool with all its objects. Raises ObjectNotFound, OutcomeUnknown."""
        await self._pool_op(f"delete pool {name!r}", await self.pool_lookup(name), PoolOpCode.DELETE, name)

    async def _pool_op(self, what: str, pool: int, code: PoolOpCode, name: str = "", snapid: int = 0) -> MPoolOpReply:
        timeout_s = self.conf.mon_op_timeout_s
        make = functools.partial(_pool_op_message, self.fsid, pool, code, name, snapid)
        reply = cast("MPoolOpReply", await self.objecter.mon_requests.ask(what, make, timeout_s, changes=True))
        if reply.reply_code < 0:
            raise make_error(reply.reply_code, operation=what)
        await self.objecter.wait_for_map(reply.epoch, timeout_s)
        return reply

    # the cluster

    async def cluster_stat(self) -> ClusterStat:
        """How full the cluster is."""
        fsid = self.fsid
        answer = await self.objecter.mon_requests.ask(
            "cluster stat", lambda tid: MStatfs(tid=tid, fsid=fsid), self.conf.mon_op_timeout_s
        )
        reply = cast("MStatfsReply", answer)
        return ClusterStat(reply.kb, reply.kb_used, reply.kb_avail, reply.num_objects)

    async def wait_for_latest_map(self, timeout_s: float = 30.0) -> None:
        """Have the map that was the newest when this was called. Raises TimedOut."""
        await self.objecter.wait_for_latest_map(timeout_s)


def _pool_op_message(fsid: UUID, pool: int, code: PoolOpCode, name: str, snapid: int, tid: int) -> Message:
    return MPoolOp(tid=tid, fsid=fsid, pool=pool, op=code, name=name, snapid=snapid)
