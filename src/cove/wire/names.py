"""Codecs of the small structures that name things in messages: peers, placement groups, versions, requests, locators.

`types` has the values, this module their bytes; `hobject` does the same for full object names.

Source: Ceph's osd/osd_types.h (`pg_t`, `spg_t`, `eversion_t`, `osd_reqid_t`, `object_locator_t`,
`request_redirect_t`), msg/msg_types.h (`entity_name_t`), common/snap_types.h (`SnapContext`).
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from uuid import UUID

from .encoding import Decoder, Encoder
from .errors import PeerError, UsageError
from .structure import Codec
from .types import EntityName, EntityType, EVersion, ObjectLocator, PgId, ReqId, SnapContext

NO_SHARD = -1
"""Shard of a placement group of a replicated pool."""
_PG = struct.Struct("<BQIi")
_PG_VERSION = 1
_NO_PREFERRED_OSD = -1

UNSET_REQID = ReqId(EntityName(EntityType.UNSET, 0), 0, 0)
"""What clients write: the OSD then takes the connection's peer and the message's tid."""


class RequestRedirect(NamedTuple):
    """Where a request should go instead: another place, or another name (empty: the same)."""

    locator: ObjectLocator
    oid: str = ""


def encode_fsid(encoder: Encoder, fsid: UUID) -> None:
    """16 bytes."""
    encoder.raw(fsid.bytes)


def decode_fsid(decoder: Decoder) -> UUID:
    """16 bytes."""
    return UUID(bytes=decoder.raw(16))


def encode_entity(encoder: Encoder, name: EntityName) -> None:
    """entity_name_t: u8 kind, i64 number."""
    encoder.u8(name.type)
    encoder.i64(name.number)


def decode_entity(decoder: Decoder) -> EntityName:
    """entity_name_t. Raises PeerError for an unknown kind."""
    kind = decoder.u8()
    try:
        return EntityName(EntityType(kind), decoder.i64())
    except ValueError:
        raise PeerError(f"{kind} is no kind of entity") from None


def encode_pg(encoder: Encoder, pg: PgId) -> None:
    """pg_t, 17 bytes."""
    try:
        encoder.raw(_PG.pack(_PG_VERSION, pg.pool, pg.seed, _NO_PREFERRED_OSD))
    except struct.error:
        raise UsageError(f"{pg!r} does not fit into a placement group's id") from None


def decode_pg(decoder: Decoder) -> PgId:
    """pg_t; the last field (an OSD that was preferred once) is ignored."""
    version, pool, seed, _ = _PG.unpack(decoder.raw(_PG.size))
    if version != _PG_VERSION:
        raise PeerError(f"a placement group's id has version {version}, not {_PG_VERSION}")
    return PgId(pool, seed)


def encode_spg(encoder: Encoder, pg: PgId, shard: int = NO_SHARD) -> None:
    """spg_t, 24 bytes: a placement group and the shard of it (-1 in replicated pools)."""
    with encoder.versioned(1, 1):
        encode_pg(encoder, pg)
        encoder.u8(shard & 0xFF)


def decode_spg(decoder: Decoder) -> tuple[PgId, int]:
    """spg_t: placement group and shard."""
    with decoder.versioned(1):
        pg, shard = decode_pg(decoder), decoder.u8()
    return pg, shard - 256 if shard > 127 else shard


def encode_eversion(encoder: Encoder, version: EVersion) -> None:
    """eversion_t: the counter first, then the epoch."""
    encoder.u64(version.version)
    encoder.u32(version.epoch)


def decode_eversion(decoder: Decoder) -> EVersion:
    """eversion_t."""
    counter = decoder.u64()
    return EVersion(decoder.u32(), counter)


def encode_reqid(encoder: Encoder, reqid: ReqId) -> None:
    """osd_reqid_t."""
    with encoder.versioned(2, 2):
        encode_entity(encoder, reqid.name)
        encoder.u64(reqid.tid)
        encoder.i32(reqid.inc)


def decode_reqid(decoder: Decoder) -> ReqId:
    """osd_reqid_t."""
    with decoder.versioned(2):
        name, tid = decode_entity(decoder), decoder.u64()
        return ReqId(name, decoder.i32(), tid)


def encode_locator(encoder: Encoder, locator: ObjectLocator) -> None:
    """object_locator_t. One that fixes the hash position can't be read by decoders older than version 6."""
    with encoder.versioned(6, 3 if locator.hash == -1 else 6):
        encoder.i64(locator.pool)
        encoder.i32(_NO_PREFERRED_OSD)
        encoder.str(locator.key)
        encoder.str(locator.nspace)
        encoder.i64(locator.hash)


def decode_locator(decoder: Decoder) -> ObjectLocator:
    """object_locator_t, version 6 (what 16 and newer write), or 5 (what Linux writes), which has no hash position."""
    with decoder.versioned(6) as version:
        if version < 5:
            raise PeerError(f"an object locator has version {version}; 5 and newer are known")
        pool = decoder.i64()
        decoder.i32()
        key, nspace = decoder.str(), decoder.str()
        position = decoder.i64() if version >= 6 else -1
    if key and position != -1:
        raise PeerError("an object locator has both a key and a hash position")
    return ObjectLocator(pool, key, nspace, position)


def encode_redirect(encoder: Encoder, redirect: RequestRedirect) -> None:
    """request_redirect_t."""
    with encoder.versioned(1, 1):
        encode_locator(encoder, redirect.locator)
        encoder.str(redirect.oid)
        encoder.u32(0)


def decode_redirect(decoder: Decoder) -> RequestRedirect:
    """request_redirect_t; a removed last field is skipped."""
    with decoder.versioned(1):
        redirect = RequestRedirect(decode_locator(decoder), decoder.str())
        decoder.raw(decoder.u32())
        return redirect


def encode_snapc(encoder: Encoder, snapc: SnapContext) -> None:
    """SnapContext: u64 seq, then the snap ids, descending."""
    encoder.u64(snapc.seq)
    encoder.list(snapc.snaps, encoder.u64)


def decode_snapc(decoder: Decoder) -> SnapContext:
    """SnapContext. Whether it is a valid one is up to the caller."""
    return SnapContext(decoder.u64(), tuple(decoder.list(decoder.u64)))


FSID: Codec[UUID] = Codec(encode_fsid, decode_fsid)
ENTITY: Codec[EntityName] = Codec(encode_entity, decode_entity)
SNAP_CONTEXT: Codec[SnapContext] = Codec(encode_snapc, decode_snapc)
