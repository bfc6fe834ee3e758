# mypy: allow-untyped-calls
"""Hypothesis strategies for messages, made from their fields: the type, and for numbers the width of the encoding."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, get_type_hints
from uuid import UUID

from hypothesis import strategies as st

from cove.wire import messages, watches
from cove.wire.address import AddrVec, EntityAddr
from cove.wire.messages import MESSAGES, Message
from cove.wire.names import RequestRedirect
from cove.wire.op_codec import LAYOUTS, PARAMS_OF
from cove.wire.osd_ops import OSDOp, RawParams
from cove.wire.pool_stats import COUNTERS, PoolStat
from cove.wire.structure import I32, I64, U8, U32, U64, UTIME, Codec, Structure
from cove.wire.structure import U16 as U16_CODEC
from cove.wire.types import (
    HOBJECT_MAX,
    HOBJECT_MIN,
    EntityName,
    EntityType,
    EVersion,
    HObject,
    ObjectLocator,
    PgId,
    ReqId,
    SnapContext,
)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


def signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


TEXT = st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape"))
BYTES = st.binary(max_size=20)
TIMES = st.integers(0, (2**32 - 1) * 10**9)
SMALL = unsigned(7)
"""Fits every width."""
BY_CODEC: dict[int, st.SearchStrategy[int]] = {
    id(U8): unsigned(8),
    id(U16_CODEC): unsigned(16),
    id(U32): unsigned(32),
    id(U64): unsigned(64),
    id(I32): signed(32),
    id(I64): signed(64),
    id(UTIME): TIMES,
}

ENTITIES = st.builds(EntityName, st.sampled_from(EntityType), signed(64))
PGS = st.builds(PgId, unsigned(64), unsigned(32))
NAMES = st.one_of(
    st.sampled_from([HOBJECT_MIN, HOBJECT_MAX]),
    st.builds(
        HObject,
        pool=st.integers(0, 2**63 - 1),
        oid=TEXT,
        hash=unsigned(32),
        key=TEXT,
        nspace=TEXT,
        snap=unsigned(64),
    ),
)
ADDRESSES = st.builds(EntityAddr.of, st.ip_addresses().map(str), unsigned(16), unsigned(32), st.sampled_from([1, 2, 3]))
LOCATORS = st.one_of(
    st.builds(ObjectLocator, signed(64)),
    st.builds(ObjectLocator, signed(64), TEXT, TEXT),
    st.builds(ObjectLocator, signed(64), st.just(""), TEXT, unsigned(32)),
)
EVERSIONS = st.builds(EVersion, unsigned(32), unsigned(64))
SNAPCS = st.builds(SnapContext, unsigned(64), st.lists(unsigned(64), max_size=3).map(tuple))


def of_structure(cls: type[Structure]) -> st.SearchStrategy[Any]:
    """Values of a declared structure."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{name: of_type(hints[name], codec) for name, codec in cls.FIELDS})


def of_type(hint: Any, codec: Codec[Any] | None = None) -> st.SearchStrategy[Any]:
    """Values of an annotated type. What is not known here needs an entry."""
    if hint is int:
        return BY_CODEC.get(id(codec), SMALL)
    if hint not in BY_TYPE:
        if isinstance(hint, type) and issubclass(hint, Structure):
            return of_structure(hint)
        raise AssertionError(f"no strategy for {hint}")
    return BY_TYPE[hint]


BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    bytes: BYTES,
    bool: st.booleans(),
    UUID: st.uuids(),
    PgId: PGS,
    HObject: NAMES,
    EntityName: ENTITIES,
    EntityAddr: ADDRESSES,
    AddrVec: st.lists(ADDRESSES, max_size=2).map(tuple),
    int | None: st.none() | signed(64),
    list[str]: st.lists(TEXT, max_size=3),
    dict[str, str] | None: st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
    dict[str, str]: st.dictionaries(TEXT, TEXT, max_size=3),
    dict[int, bytes]: st.dictionaries(unsigned(32), BYTES, max_size=3),
    dict[str, int]: st.fixed_dictionaries({name: signed(32) for name in COUNTERS}),
    dict[str, messages.Subscription]: st.dictionaries(
        TEXT,
        st.builds(messages.Subscription, unsigned(64), st.sampled_from([0, 1]).map(messages.SubscribeFlag)),
        max_size=3,
    ),
    messages.LogSource: st.builds(messages.LogSource, unsigned(32), TEXT),
}
BY_TYPE[dict[str, PoolStat]] = st.dictionaries(TEXT, of_structure(PoolStat), max_size=2)
BY_TYPE[list[messages.LogEntry]] = st.lists(of_structure(messages.LogEntry), max_size=2)
BY_TYPE[messages.ServiceDaemon | None] = st.none() | of_structure(messages.ServiceDaemon)
BY_TYPE[list[watches.WatchItem]] = st.lists(of_structure(watches.WatchItem), max_size=2)

_WIDTHS = {"B": 8, "H": 16, "I": 32, "Q": 64}


def params_of(kind: type) -> st.SearchStrategy[Any]:
    """Parameters of an operation, by the layout of their 28 bytes."""
    if kind is RawParams:
        return st.builds(RawParams, st.binary(min_size=28, max_size=28))
    layout, names = LAYOUTS[kind]
    letters = re.findall("[BHIQ]", layout)
    return st.builds(kind, **{name: unsigned(_WIDTHS[letter]) for name, letter in zip(names, letters, strict=True)})


def _known_op(code: int) -> st.SearchStrategy[OSDOp]:
    kind = PARAMS_OF[code]
    return st.builds(OSDOp, st.just(code), st.none() if kind is None else params_of(kind), BYTES, unsigned(32))


OPS = st.one_of(
    st.sampled_from(sorted(PARAMS_OF)).flatmap(_known_op),
    st.builds(
        OSDOp, unsigned(16).filter(lambda code: code not in PARAMS_OF), params_of(RawParams), BYTES, unsigned(32)
    ),
)


@st.composite
def _answers(draw: Any) -> OSDOp:
    op = OSDOp(draw(unsigned(16)), draw(params_of(RawParams)), b"", draw(unsigned(32)))
    op.rval, op.outdata = draw(signed(32)), draw(BYTES)
    return op


REQUESTS = st.builds(
    messages.MOSDOp,
    tid=unsigned(64),
    pg=PGS,
    raw_hash=unsigned(32),
    epoch=unsigned(32),
    flags=unsigned(32),
    oid=TEXT,
    locator=LOCATORS,
    ops=st.lists(OPS, max_size=4),
    snapid=unsigned(64),
    snapc=SNAPCS,
    mtime_ns=TIMES,
    retry_attempt=signed(32),
    reqid=st.none() | st.builds(ReqId, ENTITIES, signed(32), st.integers(1, 2**64 - 1)),
    client_inc=unsigned(32),
    shard=signed(8),
    features=unsigned(64),
)
REPLIES = st.builds(
    messages.MOSDOpReply,
    tid=unsigned(64),
    oid=TEXT,
    pg=PGS,
    flags=signed(64),
    result=signed(32),
    epoch=unsigned(32),
    ops=st.lists(_answers(), max_size=4),
    retry_attempt=signed(32),
    bad_replay_version=EVERSIONS,
    replay_version=EVERSIONS,
    user_version=unsigned(64),
    redirect=st.none() | st.builds(RequestRedirect, LOCATORS, TEXT),
)


def of_message(cls: type[Message]) -> st.SearchStrategy[Any]:
    """Messages of a class."""
    if cls is messages.MOSDOp:
        return REQUESTS
    if cls is messages.MOSDOpReply:
        return REPLIES
    hints = get_type_hints(cls)
    codecs = {name: codec for name, codec, _ in cls.FRONT}
    fields = {
        field.name: of_type(hints[field.name], codecs.get(field.name))
        for field in dataclasses.fields(cls)
        if field.name != "tid"
    }
    return st.builds(cls, tid=unsigned(64), **fields)


MESSAGE_STRATEGIES = {cls: of_message(cls) for cls in MESSAGES}
