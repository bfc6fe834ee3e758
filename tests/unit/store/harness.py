# mypy: allow-untyped-calls
"""A store in a temporary directory, and a bare client that sends it vectors over the loopback."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cove.messenger import Connection, Dispatcher, LoopbackMessenger, LoopbackNetwork
from cove.store import Store
from cove.store.monitor import MON_ADDRESS, OSD_ADDRESS
from cove.wire.encoding import Buffer, Encoder
from cove.wire.hashing import object_hash
from cove.wire.messages import Message, MOSDOp, MOSDOpReply
from cove.wire.osd_ops import AllocHint, AssertVer, Extent, OpCode, OSDOp, WriteSame, call_op, xattr_op
from cove.wire.types import NOSNAP, EntityName, EntityType, ObjectLocator, PgId, SnapContext

TIMEOUT_S = 20.0
POOL = 1


class Client(Dispatcher):
    """Sends messages and pairs answers with them by tid."""

    def __init__(self, network: LoopbackNetwork, number: int | None = None) -> None:
        if number is None:
            number = secrets.randbits(62)  # its requests are no repetitions of somebody else's
        self.messenger = LoopbackMessenger(network, EntityName(EntityType.CLIENT, number))
        self.messenger.add_dispatcher_tail(self)
        self.osd = self.messenger.connect_to(OSD_ADDRESS, EntityType.OSD)
        self.mon = self.messenger.connect_to(MON_ADDRESS, EntityType.MON)
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.unasked: asyncio.Queue[Any] = asyncio.Queue()
        self.tids = itertools.count(1)

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        future = self.waiting.pop(message.tid, None)
        if future is not None:
            future.set_result(message)
        else:
            self.unasked.put_nowait(message)
        return True

    def op(self, oid: str, ops: Sequence[OSDOp], **fields: Any) -> MOSDOp:
        pool = fields.pop("pool", POOL)
        key, nspace = fields.pop("key", ""), fields.pop("nspace", "")
        raw_hash = object_hash(oid, key, nspace)
        return MOSDOp(
            tid=fields.pop("tid", None) or next(self.tids),
            pg=PgId(pool, raw_hash & 31),
            raw_hash=raw_hash,
            epoch=1,
            flags=fields.pop("flags", 0x400024),
            oid=oid,
            locator=ObjectLocator(pool, key, nspace),
            ops=list(ops),
            mtime_ns=fields.pop("mtime_ns", 1_700_000_000_000_000_000),
            snapid=fields.pop("snapid", NOSNAP),
            snapc=fields.pop("snapc", SnapContext()),
            **fields,
        )

    def submit(self, message: Message, to: Connection | None = None) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.waiting[message.tid] = future
        (to or self.osd).send_message(message)
        return future

    async def run(self, oid: str, *ops: OSDOp, **fields: Any) -> MOSDOpReply:
        reply = await asyncio.wait_for(self.submit(self.op(oid, ops, **fields)), TIMEOUT_S)
        assert isinstance(reply, MOSDOpReply)
        return reply

    async def call(self, oid: str, cls: str, method: str, data: Buffer = b"") -> tuple[int, bytes]:
        reply = await self.run(oid, call_op(cls, method, data))
        return reply.result, reply.ops[0].outdata

    async def ask_mon(self, message: Message) -> Any:
        message.tid = next(self.tids)
        return await asyncio.wait_for(self.submit(message, self.mon), TIMEOUT_S)


@asynccontextmanager
async def running_store(path: Path, **options: Any) -> AsyncIterator[tuple[Any, Client]]:
    network = LoopbackNetwork()
    store = Store(path, **options)
    await store.start(network)
    client = Client(network)
    try:
        yield store, client
    finally:
        await client.messenger.shutdown()
        await store.stop()


def read(offset: int = 0, length: int = 0, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.READ, Extent(offset, length), **kw)


def write(data: Buffer, offset: int = 0, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.WRITE, Extent(offset, len(data)), data, **kw)


def writefull(data: Buffer, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.WRITEFULL, Extent(0, len(data)), data, **kw)


def append(data: Buffer, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.APPEND, Extent(0, len(data)), data, **kw)


def truncate(size: int, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.TRUNCATE, Extent(size), **kw)


def zero(offset: int, length: int, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.ZERO, Extent(offset, length), **kw)


def writesame(offset: int, length: int, data: bytes, data_length: int | None = None, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.WRITESAME, WriteSame(offset, length, len(data) if data_length is None else data_length), data)


def cmpext(offset: int, data: bytes, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.CMPEXT, Extent(offset, len(data)), data, **kw)


def stat(**kw: Any) -> OSDOp:
    return OSDOp(OpCode.STAT, **kw)


def delete(**kw: Any) -> OSDOp:
    return OSDOp(OpCode.DELETE, **kw)


def create(*, exclusive: bool = False, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.CREATE, flags=1 if exclusive else 0, **kw)


def assert_ver(version: int) -> OSDOp:
    return OSDOp(OpCode.ASSERT_VER, AssertVer(version))


def alloc_hint(flags: int = 2) -> OSDOp:
    return OSDOp(OpCode.SET_ALLOC_HINT, AllocHint(4 << 20, 4 << 20), flags=flags)


def setxattr(name: str, value: bytes, **kw: Any) -> OSDOp:
    return xattr_op(OpCode.SETXATTR, name, value, **kw)


def getxattr(name: str, **kw: Any) -> OSDOp:
    return xattr_op(OpCode.GETXATTR, name, **kw)


def rmxattr(name: str, **kw: Any) -> OSDOp:
    return xattr_op(OpCode.RMXATTR, name, **kw)


def cmpxattr(name: str, value: bytes, op: int = 1, mode: int = 1, **kw: Any) -> OSDOp:
    return xattr_op(OpCode.CMPXATTR, name, value, cmp_op=op, cmp_mode=mode, **kw)


def encoded(build: Any) -> bytes:
    encoder = Encoder()
    build(encoder)
    return encoder.bytes()


def omap_set(items: dict[bytes, bytes], **kw: Any) -> OSDOp:
    return OSDOp(OpCode.OMAP_SET_VALS, None, encoded(lambda e: e.map(items, e.blob, e.blob)), **kw)


def omap_rm(keys: list[bytes], **kw: Any) -> OSDOp:
    return OSDOp(OpCode.OMAP_RM_KEYS, None, encoded(lambda e: e.list(keys, e.blob)), **kw)


def omap_rm_range(begin: bytes, end: bytes, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.OMAP_RM_KEY_RANGE, None, encoded(lambda e: (e.blob(begin), e.blob(end))), **kw)


def omap_get_vals(after: bytes = b"", count: int = 1024, prefix: bytes = b"", **kw: Any) -> OSDOp:
    data = encoded(lambda e: (e.blob(after), e.u64(count), e.blob(prefix)))
    return OSDOp(OpCode.OMAP_GET_VALS, None, data, **kw)


def omap_get_keys(after: bytes = b"", count: int = 1024, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.OMAP_GET_KEYS, None, encoded(lambda e: (e.blob(after), e.u64(count))), **kw)


def omap_by_keys(keys: list[bytes], **kw: Any) -> OSDOp:
    return OSDOp(OpCode.OMAP_GET_VALS_BY_KEYS, None, encoded(lambda e: e.list(keys, e.blob)), **kw)


def omap_cmp(items: dict[bytes, tuple[bytes, int]], **kw: Any) -> OSDOp:
    data = encoded(lambda e: e.map(items, e.blob, lambda v: (e.blob(v[0]), e.i32(v[1]))))
    return OSDOp(OpCode.OMAP_CMP, None, data, **kw)


def omap_header(data: bytes, **kw: Any) -> OSDOp:
    return OSDOp(OpCode.OMAP_SET_HEADER, None, data, **kw)


def omap_clear(**kw: Any) -> OSDOp:
    return OSDOp(OpCode.OMAP_CLEAR, **kw)
