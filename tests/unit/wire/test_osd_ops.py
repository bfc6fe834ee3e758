# mypy: allow-untyped-calls
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.errors import PeerError
from cove.wire.osd_ops import ClassCall, OpCode, OSDOp, Xattr, call_op, xattr_op
from cove.wire.osdmap import PgPool, simple_osdmap
from cove.wire.types import EntityName, EntityType, ObjectLocator, PgId, SnapContext

NAMES = st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape"))


@given(NAMES, st.binary(max_size=30))
def test_xattr_inputs_come_back(name, value):
    op = xattr_op(OpCode.SETXATTR, name, value)
    assert op.xattr_parts() == (name.encode("utf-8", "surrogateescape"), value)


@given(st.text("abc_", max_size=8), st.text("abc_", max_size=8), st.binary(max_size=30))
def test_call_inputs_come_back(cls, method, data):
    assert call_op(cls, method, data).call_parts() == (cls, method, data)


@pytest.mark.parametrize(
    "op",
    [
        OSDOp(OpCode.SETXATTR, Xattr(3, 3), b"abcde"),
        OSDOp(OpCode.SETXATTR, None, b"abcde"),
    ],
)
def test_xattr_lengths_beyond_the_input_are_refused(op):
    with pytest.raises(PeerError):
        op.xattr_parts()


@pytest.mark.parametrize("op", [OSDOp(OpCode.CALL, ClassCall(1, 2, 3), b"abcde"), OSDOp(OpCode.CALL, None, b"")])
def test_call_lengths_beyond_the_input_are_refused(op):
    with pytest.raises(PeerError):
        op.call_parts()


def test_codes_say_what_an_operation_does():
    assert OSDOp(OpCode.READ).is_read()
    assert not OSDOp(OpCode.READ).is_modification()
    assert OSDOp(OpCode.WRITE).is_modification()
    assert not OSDOp(OpCode.CALL).is_read()
    assert OSDOp(OpCode.PGNLS).is_pg_op()
    assert not OSDOp(OpCode.CALL).is_pg_op()
    assert OSDOp(OpCode.OMAP_SET_VALS).name == "omap_set_vals"
    assert OSDOp(0x9999).name == "op 0x9999"


def test_the_map_places_objects(tmp_path):
    from uuid import uuid4

    pools = {1: PgPool(pg_num=32), 2: PgPool(pg_num=12)}
    osdmap = simple_osdmap(uuid4(), 3, pools, {1: "rbd", 2: "x"}, {0: "v2:127.0.0.1:6800/1"})
    assert osdmap.pool_id("rbd") == 1
    assert osdmap.pool_id("none") is None
    raw = osdmap.raw_pg("foo", ObjectLocator(1))
    assert raw == PgId(1, 0x7FC1F406)
    assert osdmap.actual_pg(raw) == PgId(1, 6)
    assert str(osdmap.actual_pg(raw)) == "1.6"
    assert osdmap.raw_pg("foo", ObjectLocator(1, hash=9)).seed == 9
    assert osdmap.pg_to_osds(PgId(1, 6)).primary == 0
    down = replace(osdmap, epoch=4, osd_state=[1])
    assert down.pg_to_osds(PgId(1, 6)).primary == -1


@pytest.mark.parametrize(
    ("snapc", "valid"),
    [
        (SnapContext(), True),
        (SnapContext(5, (5, 3, 1)), True),
        (SnapContext(4, (5, 3)), False),
        (SnapContext(5, (3, 4)), False),
        (SnapContext(5, (3, 3)), False),
    ],
)
def test_snap_contexts_descend(snapc, valid):
    assert snapc.is_valid() is valid


def test_names_for_people():
    assert str(EntityName(EntityType.CLIENT, 4117)) == "client.4117"
