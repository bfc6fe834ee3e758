"""The request to an OSD and its answer, `MOSDOp` and `MOSDOpReply`, with their layouts.

These two are most of a client's traffic, so their fixed parts are packed and unpacked as a whole. Structures inside
them carry versions of their own; what every release writes is recognised by its bytes, anything else is read step by
step by the codecs of `names`.

Source: Ceph's messages/MOSDOp.h, MOSDOpReply.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self

from ..encoding import NS_PER_S, TIME_MAX_NS, Buffer, Decoder, Encoder
from ..errors import PeerError, UsageError
from ..features import NEW_OSDOP_ENCODING, NEW_OSDOPREPLY_ENCODING, RESEND_ON_SPLIT, SERVER_SQUID, SUPPORTED
from ..names import (
    UNSET_REQID,
    RequestRedirect,
    decode_locator,
    decode_redirect,
    decode_reqid,
    decode_spg,
    encode_locator,
    encode_redirect,
    encode_reqid,
)
from ..op_codec import OP_BYTES, OPS_MAX, decode_op, encode_op, split_inputs, split_outputs
from ..osd_ops import Extent, OpCode, OSDOp, RawParams
from ..types import NOSNAP, EVersion, ObjectLocator, PgId, ReqId, SnapContext
from .base import PRIO_OSD_OP, Message, MessageHeader, MessageParts

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_VERSIONED = struct.Struct("<BBI")

_SPG_START = bytes.fromhex("01011200000001")
"""spg_t version 1 of 18 bytes, pg_t version 1."""
_NO_OSD = b"\xff\xff\xff\xff"
_REQID_START = bytes.fromhex("020215000000")
_REQID_UNSET = _REQID_START + bytes(21)
_TRACE_BYTES = 24
_NO_TRACE = bytes(_TRACE_BYTES)
_NO_OTEL_TRACE = bytes.fromhex("01010100000000")
_LOCATOR_CACHED_MAX = 512

_EARLY = struct.Struct("<7sQI4sbIII27s24x")
_TIMES = struct.Struct("<III")
_TAIL_NO_SNAPS = struct.Struct("<QQIiQ")
_SNAPS = struct.Struct("<QQI")
_ATTEMPT_FEATURES = struct.Struct("<iQ")

_V8_FEATURES: Final = NEW_OSDOP_ENCODING | RESEND_ON_SPLIT
_V9_FEATURES: Final = _V8_FEATURES | SERVER_SQUID


@lru_cache(maxsize=256)
def _locator_bytes(pool: int, key: str, nspace: str, position: int) -> bytes:
    encoder = Encoder()
    encode_locator(encoder, ObjectLocator(pool, key, nspace, position))
    return encoder.bytes()


@lru_cache(maxsize=256)
def _locator_of(encoded: bytes) -> ObjectLocator:
    return decode_locator(Decoder(encoded))


def _reqid_bytes(reqid: ReqId) -> bytes:
    encoder = Encoder()
    encode_reqid(encoder, reqid)
    return encoder.bytes()


@dataclass(slots=True, kw_only=True)
class MOSDOp(Message):
    """A client's request to an OSD: a vector of operations on one object (or on a placement group).

    `shard` is that of the primary in an erasure-coded pool, else -1. `reqid` is only given by proxies; without it the
    OSD names the request by the connection's peer and `tid`. `features` are the sender's.
    """

    TYPE = 42
    HEAD_VERSION = 9
    COMPAT_VERSION = 3
    OLDEST_VERSION = 8
    PRIORITY = PRIO_OSD_OP

    pg: PgId
    raw_hash: int
    epoch: int
    flags: int
    oid: str
    locator: ObjectLocator
    ops: list[OSDOp]
    snapid: int = NOSNAP
    snapc: SnapContext = field(default_factory=SnapContext)
    mtime_ns: int = 0
    retry_attempt: int = 0
    reqid: ReqId | None = None
    client_inc: int = 0
    shard: int = -1
    features: int = SUPPORTED

    def to_parts(self, features: int) -> MessageParts:
        """Version 9 for peers of release 19 and newer, else 8. The data's pieces are the operations' own inputs."""
        if features & _V8_FEATURES != _V8_FEATURES:
            raise PeerError(f"MOSDOp: a peer with features {features:#x} takes only versions older than 8")
        version = 9 if features & _V9_FEATURES == _V9_FEATURES else 8
        pg, locator, ops, reqid, snapc = self.pg, self.locator, self.ops, self.reqid, self.snapc
        data: list[Buffer] = []
        try:
            oid = self.oid.encode("utf-8", "surrogateescape")
            parts = [
                _EARLY.pack(
                    _SPG_START,
                    pg.pool,
                    pg.seed,
                    _NO_OSD,
                    self.shard,
                    self.raw_hash,
                    self.epoch,
                    self.flags,
                    _REQID_UNSET if reqid is None else _reqid_bytes(reqid),
                ),
                _NO_OTEL_TRACE if version == 9 else b"",
                _TIMES.pack(self.client_inc, *divmod(self.mtime_ns, NS_PER_S)),
                _locator_bytes(locator.pool, locator.key, locator.nspace, locator.hash),
                _U32.pack(len(oid)),
                oid,
                _U16.pack(len(ops)),
            ]
            for op in ops:
                indata = op.indata
                length = len(indata)
                if length:
                    data.append(indata)
                parts.append(encode_op(op, length))
            if snapc.snaps:
                parts.append(_SNAPS.pack(self.snapid, snapc.seq, len(snapc.snaps)))
                parts.append(struct.pack(f"<{len(snapc.snaps)}Q", *snapc.snaps))
                parts.append(_ATTEMPT_FEATURES.pack(self.retry_attempt, self.features))
            else:
                parts.append(_TAIL_NO_SNAPS.pack(self.snapid, snapc.seq, 0, self.retry_attempt, self.features))
        except (struct.error, UnicodeEncodeError) as error:
            raise UsageError(f"MOSDOp on {self.oid!r}: a value does not fit: {error}") from None
        return MessageParts(42, self.tid, PRIO_OSD_OP, version, 3, 0, b"".join(parts), b"", data)

    @classmethod
    def from_parts(cls, header: MessageHeader, front: Buffer, data: Buffer) -> Self:
        """Decode versions 8 and 9."""
        front = bytes(front)
        try:
            return cls._decode(header, front, data)
        except (struct.error, IndexError):
            raise PeerError(f"the front ends after {len(front)} bytes") from None

    @classmethod
    def _decode(cls, header: MessageHeader, front: bytes, data: Buffer) -> Self:
        start, pool, seed, _, shard, raw_hash, epoch, flags, reqid_bytes = _EARLY.unpack_from(front)
        if start == _SPG_START and reqid_bytes == _REQID_UNSET:
            pg, reqid, at = PgId(pool, seed), None, _EARLY.size
        else:
            decoder = Decoder(front)
            pg, shard = decode_spg(decoder)
            raw_hash, epoch, flags = decoder.u32(), decoder.u32(), decoder.u32()
            reqid = decode_reqid(decoder)
            reqid = None if reqid == UNSET_REQID else reqid
            decoder.raw(_TRACE_BYTES)
            at = len(front) - decoder.remaining
        if header.version >= 9:
            at += _VERSIONED.size + _VERSIONED.unpack_from(front, at)[2]  # the trace is not for us
        client_inc, seconds, nanoseconds = _TIMES.unpack_from(front, at)
        mtime_ns = seconds * NS_PER_S + nanoseconds
        if mtime_ns > TIME_MAX_NS:
            mtime_ns = TIME_MAX_NS
        at += _TIMES.size
        locator_end = at + _VERSIONED.size + _VERSIONED.unpack_from(front, at)[2]
        encoded = front[at:locator_end]
        locator = _locator_of(encoded) if len(encoded) <= _LOCATOR_CACHED_MAX else decode_locator(Decoder(encoded))
        at = locator_end
        oid_end = at + 4 + _U32.unpack_from(front, at)[0]
        oid = front[at + 4 : oid_end].decode("utf-8", "surrogateescape")
        (count,) = _U16.unpack_from(front, oid_end)
        first_op = oid_end + 2
        at = first_op + count * OP_BYTES
        ops, lengths = [], []
        for position in range(first_op, at, OP_BYTES):
            op, length = decode_op(front, position)
            ops.append(op)
            lengths.append(length)
        snapid, seq, count = _SNAPS.unpack_from(front, at)
        at += _SNAPS.size
        if count * 8 > len(front) - at:
            raise PeerError(f"{count} snapshots in {len(front) - at} bytes")
        snaps: tuple[int, ...] = struct.unpack_from(f"<{count}Q", front, at) if count else ()
        retry_attempt, features = _ATTEMPT_FEATURES.unpack_from(front, at + count * 8)
        split_inputs(ops, lengths, data)
        return cls(
            tid=header.tid,
            pg=pg,
            raw_hash=raw_hash,
            epoch=epoch,
            flags=flags,
            oid=oid,
            locator=locator,
            ops=ops,
            snapid=snapid,
            snapc=SnapContext(seq, snaps),
            mtime_ns=mtime_ns,
            retry_attempt=retry_attempt,
            reqid=reqid,
            client_inc=client_inc,
            shard=shard,
            features=features,
        )


_REPLY_HEAD = struct.Struct("<BQIiqiQIII")
_REPLY_OP = struct.Struct("<HI28sI")
_REPLY_END = struct.Struct("<QIQB")
_NO_VERSION = EVersion(0, 0)
_ALIGNED_READS: Final = frozenset((OpCode.READ, OpCode.SYNC_READ))


def _data_offset(ops: Sequence[OSDOp]) -> int:
    """Low bits of the offset of the first read, by which a receiver may align its buffer."""
    for op in ops:
        if op.code in _ALIGNED_READS:
            params = op.params
            if type(params) is Extent:
                return params.offset & 0xFFFF
            if type(params) is RawParams:
                return int.from_bytes(params.union[:2], "little")
    return 0


@dataclass(slots=True, kw_only=True)
class MOSDOpReply(Message):
    """An OSD's answer: the overall result, each operation's result and output, and the versions after it.

    A decoded answer's operations carry `rval`, `outdata` and raw parameters. With `redirect` the request was not
    done: it is to be sent to another place.
    """

    TYPE = 43
    HEAD_VERSION = 8
    COMPAT_VERSION = 2
    OLDEST_VERSION = 8

    oid: str
    pg: PgId
    flags: int
    result: int
    epoch: int
    ops: list[OSDOp]
    retry_attempt: int = -1
    bad_replay_version: EVersion = _NO_VERSION
    replay_version: EVersion = _NO_VERSION
    user_version: int = 0
    redirect: RequestRedirect | None = None

    def to_parts(self, features: int) -> MessageParts:
        """Version 8. The data's pieces are the operations' own outputs."""
        if features & NEW_OSDOPREPLY_ENCODING != NEW_OSDOPREPLY_ENCODING:
            raise PeerError(f"MOSDOpReply: a peer with features {features:#x} takes only versions older than 8")
        pg, ops, bad, replay, redirect = (
            self.pg,
            self.ops,
            self.bad_replay_version,
            self.replay_version,
            self.redirect,
        )
        data: list[Buffer] = []
        try:
            oid = self.oid.encode("utf-8", "surrogateescape")
            parts = [
                _U32.pack(len(oid)),
                oid,
                _REPLY_HEAD.pack(
                    1, pg.pool, pg.seed, -1, self.flags, self.result, bad.version, bad.epoch, self.epoch, len(ops)
                ),
            ]
            for op in ops:
                outdata = op.outdata
                length = len(outdata)
                if length:
                    data.append(outdata)
                parts.append(encode_op(op, length))
            parts.append(struct.pack(f"<{len(ops) + 1}i", self.retry_attempt, *[op.rval for op in ops]))
            parts.append(_REPLY_END.pack(replay.version, replay.epoch, self.user_version, redirect is not None))
        except (struct.error, UnicodeEncodeError) as error:
            raise UsageError(f"MOSDOpReply on {self.oid!r}: a value does not fit: {error}") from None
        if redirect is not None:
            encoder = Encoder()
            encode_redirect(encoder, redirect)
            parts.append(encoder.bytes())
        parts.append(_NO_TRACE)
        offset = _data_offset(ops) if data else 0
        return MessageParts(43, self.tid, self.PRIORITY, 8, 2, offset, b"".join(parts), b"", data)

    @classmethod
    def from_parts(cls, header: MessageHeader, front: Buffer, data: Buffer) -> Self:
        """Decode version 8."""
        front = bytes(front)
        try:
            return cls._decode(header, front, data)
        except (struct.error, IndexError):
            raise PeerError(f"the front ends after {len(front)} bytes") from None

    @classmethod
    def _decode(cls, header: MessageHeader, front: bytes, data: Buffer) -> Self:
        at = 4 + _U32.unpack_from(front)[0]
        oid = front[4:at].decode("utf-8", "surrogateescape")
        pg_version, pool, seed, _, flags, result, bad_version, bad_epoch, epoch, count = _REPLY_HEAD.unpack_from(
            front, at
        )
        if pg_version != 1:
            raise PeerError(f"a placement group's id has version {pg_version}, not 1")
        at += _REPLY_HEAD.size
        ops_end = at + count * OP_BYTES
        if count > OPS_MAX or ops_end > len(front):
            raise PeerError(f"{count} operations in {len(front) - at} bytes")
        retry_attempt, *rvals = struct.unpack_from(f"<{count + 1}i", front, ops_end)
        ops, lengths = [], []
        for (code, op_flags, union, length), rval in zip(_REPLY_OP.iter_unpack(front[at:ops_end]), rvals, strict=True):
            op = OSDOp(code, RawParams(union), b"", op_flags)
            op.rval = rval
            ops.append(op)
            lengths.append(length)
        at = ops_end + (count + 1) * 4
        version, version_epoch, user_version, redirected = _REPLY_END.unpack_from(front, at)
        at += _REPLY_END.size
        redirect = None
        if redirected:
            decoder = Decoder(memoryview(front)[at:])
            redirect = decode_redirect(decoder)
            at = len(front) - decoder.remaining
        if len(front) < at + _TRACE_BYTES:
            raise PeerError(f"the front ends after {len(front)} bytes, within its trace")
        split_outputs(ops, lengths, data)
        return cls(
            tid=header.tid,
            oid=oid,
            pg=PgId(pool, seed),
            flags=flags,
            result=result,
            epoch=epoch,
            ops=ops,
            retry_attempt=retry_attempt,
            bad_replay_version=EVersion(bad_epoch, bad_version),
            replay_version=EVersion(version_epoch, version),
            user_version=user_version,
            redirect=redirect,
        )
