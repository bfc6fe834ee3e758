# mypy: allow-untyped-calls
"""Every operation's results and errors, one vector after the other, on the real engine."""

from __future__ import annotations

import asyncio
import errno

import pytest

from cove.wire.encoding import Decoder
from cove.wire.osd_ops import Checksum, Extent, OpCode, OSDOp, Watch, call_op, xattr_op
from cove.wire.types import PgId, SnapContext
from tests.unit.store.harness import (
    alloc_hint,
    append,
    assert_ver,
    cmpext,
    cmpxattr,
    create,
    delete,
    encoded,
    getxattr,
    omap_by_keys,
    omap_clear,
    omap_cmp,
    omap_get_keys,
    omap_get_vals,
    omap_header,
    omap_rm,
    omap_rm_range,
    omap_set,
    read,
    rmxattr,
    running_store,
    setxattr,
    stat,
    truncate,
    write,
    writefull,
    writesame,
    zero,
)

FAILOK = 2
EQ, NE, GT, GTE, LT, LTE = 1, 2, 3, 4, 5, 6
STRING, U64 = 1, 2


def u64(value):
    return value.to_bytes(8, "little")


@pytest.fixture
async def client(tmp_path):
    async with running_store(tmp_path / "store") as (_, client):
        await client.run("o", writefull(b"0123456789"), setxattr("a", b"value"), setxattr("n", b"42"))
        await client.run("o", omap_set({b"k1": b"1", b"k2": b"2", b"p": b"3"}), omap_header(b"head"))
        yield client


# (operations, result, rvals)
ON_AN_OBJECT = [
    ([create(exclusive=True)], -errno.EEXIST, None),
    ([create()], 0, None),
    ([alloc_hint()], 0, None),
    ([assert_ver(0)], -errno.EINVAL, None),
    ([assert_ver(1)], -errno.ERANGE, None),
    ([assert_ver(2)], 0, None),
    ([assert_ver(3)], -errno.EOVERFLOW, None),
    ([getxattr("none")], -errno.ENODATA, None),
    ([rmxattr("none")], 0, None),
    ([setxattr("x" * 100, b"")], 0, None),
    ([setxattr("x" * 101, b"")], -errno.ENAMETOOLONG, None),
    ([cmpxattr("a", b"value")], 1, [1]),
    ([cmpxattr("a", b"other")], -errno.ECANCELED, None),
    ([cmpxattr("a", b"value", NE)], -errno.ECANCELED, None),
    ([cmpxattr("a", b"w", GT)], 1, None),
    ([cmpxattr("a", b"a", GT)], -errno.ECANCELED, None),
    ([cmpxattr("a", b"a", LT)], 1, None),
    ([cmpxattr("a", b"value", GTE)], 1, None),
    ([cmpxattr("a", b"value", LTE)], 1, None),
    ([cmpxattr("none", b"")], 1, None),
    ([cmpxattr("n", u64(42), EQ, U64)], 1, None),
    ([cmpxattr("n", u64(43), GT, U64)], 1, None),
    ([cmpxattr("n", u64(42), GT, U64)], -errno.ECANCELED, None),
    ([cmpxattr("none", u64(0), EQ, U64)], 1, None),
    ([cmpxattr("a", u64(0), EQ, U64)], -errno.EINVAL, None),
    ([cmpxattr("n", b"42", EQ, U64)], -errno.EINVAL, None),
    ([cmpxattr("a", b"value", 9)], -errno.EINVAL, None),
    ([cmpxattr("a", b"value", EQ, 3)], -errno.EINVAL, None),
    ([cmpxattr("a", b"value"), read()], 0, [1, 0]),
    ([cmpxattr("a", b"value"), omap_get_vals()], 1, [1, 1]),
    ([cmpext(0, b"0123")], 0, None),
    ([cmpext(0, b"x123")], -4095, None),
    ([cmpext(2, b"23x")], -4097, None),
    ([cmpext(8, b"89\0\0")], 0, None),
    ([cmpext(8, b"89\0x")], -4098, None),
    ([OSDOp(OpCode.CMPEXT, Extent(0, 5), b"0123")], -errno.EINVAL, None),
    ([omap_cmp({b"k1": (b"1", EQ)})], 0, None),
    ([omap_cmp({b"k1": (b"2", EQ)})], -errno.ECANCELED, None),
    ([omap_cmp({b"k1": (b"0", GT)})], 0, None),
    ([omap_cmp({b"k1": (b"0", LT)})], -errno.ECANCELED, None),
    ([omap_cmp({b"none": (b"", EQ)})], 0, None),
    ([omap_cmp({b"k1": (b"1", GTE)})], -errno.EINVAL, None),
    ([omap_cmp({b"k1": (b"1", EQ), b"k2": (b"1", EQ)})], -errno.ECANCELED, None),
    ([OSDOp(OpCode.WRITE, Extent(0, 5), b"0123")], -errno.EINVAL, None),
    ([OSDOp(OpCode.WRITEFULL, Extent(0, 5), b"0123")], -errno.EINVAL, None),
    ([OSDOp(OpCode.APPEND, Extent(0, 5), b"0123")], -errno.EINVAL, None),
    ([OSDOp(OpCode.WRITE, None, b"0123")], -errno.EINVAL, None),
    ([OSDOp(OpCode.WRITE, Extent(0, 4, 10, 5), b"0123")], -errno.EOPNOTSUPP, None),
    ([OSDOp(OpCode.WRITE, Extent(0, 4, 2**64 - 1, 1), b"0123")], 0, None),
    ([write(b"x", 128 << 20)], -errno.EFBIG, None),
    ([write(b"xx", (128 << 20) - 1)], -errno.EFBIG, None),
    ([truncate((128 << 20) + 1)], -errno.EFBIG, None),
    ([truncate(128 << 20)], -errno.EFBIG, None),
    ([truncate((128 << 20) - 1)], 0, None),
    ([zero(128 << 20, 1)], -errno.EFBIG, None),
    ([writesame(0, 0, b"")], 0, None),
    ([writesame(0, 4, b"", 0)], -errno.EINVAL, None),
    ([writesame(0, 5, b"ab")], -errno.EINVAL, None),
    ([writesame(0, 4, b"ab", 4)], -errno.EINVAL, None),
    ([writesame(0, 4, b"ab")], 0, None),
    ([OSDOp(OpCode.OMAP_SET_VALS, None, b"\x01")], -errno.EINVAL, None),
    ([OSDOp(OpCode.OMAP_GET_VALS, None, b"\x01")], -errno.EINVAL, None),
    ([omap_rm([b"none"])], 0, None),
    ([OSDOp(OpCode.WATCH, Watch(1, 3))], -errno.EOPNOTSUPP, None),
    ([OSDOp(OpCode.ROLLBACK)], -errno.EOPNOTSUPP, None),
    ([OSDOp(OpCode.COPY_FROM2)], -errno.EOPNOTSUPP, None),
    ([OSDOp(0x2302)], -errno.EOPNOTSUPP, None),
    ([OSDOp(OpCode.ISDIRTY)], 0, None),
    ([OSDOp(OpCode.UNDIRTY)], 0, None),
    ([call_op("nocls", "x")], -errno.EOPNOTSUPP, None),
    ([call_op("lock", "nosuch")], -errno.EOPNOTSUPP, None),
    ([read(), call_op("lock", "nosuch")], -errno.EOPNOTSUPP, [0, 0]),
    ([call_op("rbd", "get_size", b"\1")], -errno.EINVAL, None),
    ([OSDOp(OpCode.CHECKSUM, Checksum(0, 0, 0, 2), b"")], -errno.EINVAL, None),
    ([OSDOp(OpCode.CHECKSUM, Checksum(0, 0, 0, 7), bytes(4))], -errno.EINVAL, None),
    ([OSDOp(OpCode.CHECKSUM, Checksum(0, 9, 4, 2), bytes(4))], -errno.EINVAL, None),
    ([OSDOp(OpCode.CHECKSUM, Checksum(50, 4, 0, 2), bytes(4))], 0, None),
    ([OSDOp(OpCode.CHECKSUM, Checksum(5, 0, 4, 2), bytes(4))], -errno.EINVAL, None),
    ([OSDOp(OpCode.CHECKSUM, Checksum(5, 0, 0, 2), bytes(4))], 0, None),
    # a failing operation ends the vector, unless it may fail
    ([write(b"X"), getxattr("none"), write(b"Y")], -errno.ENODATA, [0, -errno.ENODATA, 0]),
    ([write(b"X"), getxattr("none", flags=FAILOK), write(b"Y", 1)], 0, [0, -errno.ENODATA, 0]),
    ([create(exclusive=True), write(b"X")], -errno.EEXIST, [-errno.EEXIST, 0]),
    # a write vector's result is 0, the operations' results are kept
    ([cmpxattr("a", b"value"), write(b"Z")], 0, [1, 0]),
    ([setxattr("new", b"1"), cmpxattr("new", b"1")], -errno.ECANCELED, None),
    ([write(b"N"), cmpext(0, b"N")], -4095, None),
]


@pytest.mark.parametrize(("ops", "result", "rvals"), ON_AN_OBJECT, ids=lambda value: str(value)[:60])
async def test_on_an_object(client, ops, result, rvals):
    before = await _everything(client, "o")
    reply = await client.run("o", *ops)
    assert reply.result == result
    expected = rvals if rvals is not None else [result]
    if rvals is None and len(ops) > 1:
        expected = [0] * (len(ops) - 1) + [result]
    if not any(op.code == OpCode.CALL for op in ops) or result != -errno.EOPNOTSUPP:
        assert [op.rval for op in reply.ops] == expected
    if result < 0:
        assert await _everything(client, "o") == before


async def _everything(client, oid):
    reply = await client.run(oid, read(), OSDOp(OpCode.GETXATTRS), omap_get_vals(), stat())
    header = await client.run(oid, OSDOp(OpCode.OMAP_GET_HEADER))
    return reply.result, [op.outdata for op in reply.ops], header.ops[0].outdata, reply.user_version


# On an absent object: operations, result, and whether the object exists afterwards
ON_NOTHING = [
    ([read()], -errno.ENOENT, False),
    ([stat()], -errno.ENOENT, False),
    ([getxattr("a")], -errno.ENOENT, False),
    ([omap_get_vals()], -errno.ENOENT, False),
    ([cmpxattr("a", b"")], -errno.ENOENT, False),
    ([call_op("rbd", "get_all_features")], -errno.ENOENT, False),
    ([delete()], -errno.ENOENT, False),
    ([stat(), write(b"x")], -errno.ENOENT, False),
    ([rmxattr("a")], -errno.ENOENT, False),
    ([omap_rm([b"k"])], -errno.ENOENT, False),
    ([omap_rm_range(b"a", b"b")], -errno.ENOENT, False),
    ([omap_clear()], -errno.ENOENT, False),
    ([omap_cmp({b"k": (b"", EQ)}), create()], -errno.ENOENT, False),
    ([create(), omap_cmp({b"k": (b"", EQ)})], -errno.ENOENT, False),
    ([create(), cmpxattr("a", b"")], -errno.ENOENT, False),
    ([truncate(10)], 0, False),
    ([truncate(1 << 30)], 0, False),
    ([zero(0, 10)], 0, False),
    ([writesame(0, 0, b"")], 0, False),
    ([create(exclusive=True)], 0, True),
    ([create()], 0, True),
    ([alloc_hint()], 0, True),
    ([write(b"")], 0, True),
    ([writefull(b"")], 0, True),
    ([append(b"ab"), append(b"cd")], 0, True),
    ([setxattr("a", b"")], 0, True),
    ([omap_set({})], 0, True),
    ([omap_header(b"")], 0, True),
    ([cmpext(0, bytes(3)), create()], 0, True),
    ([cmpext(0, b"\0x"), create()], -4096, False),
    ([create(), delete()], 0, False),
    ([create(), delete(), create(exclusive=True)], 0, True),
    ([write(b"x"), delete(), delete()], -errno.ENOENT, False),
    ([call_op("rbd", "set_id", b"\1\0\0\0a")], -errno.ENOENT, False),
    ([create(exclusive=True), call_op("rbd", "set_id", b"\1\0\0\0a")], 0, True),
    ([create(), call_op("rbd", "set_id", b"\0\0\0\0")], -errno.EINVAL, False),
]


@pytest.mark.parametrize(("ops", "result", "exists"), ON_NOTHING, ids=lambda value: str(value)[:60])
async def test_on_nothing(client, ops, result, exists):
    reply = await client.run("absent", *ops)
    assert reply.result == result
    assert (await client.run("absent", stat())).result == (0 if exists else -errno.ENOENT)


async def test_reads(client):
    async def data(*args):
        return (await client.run("o", read(*args))).ops[0].outdata

    assert await data() == b"0123456789"
    assert await data(3, 4) == b"3456"
    assert await data(8, 100) == b"89"
    assert await data(10, 5) == b""
    assert await data(99) == b""


async def test_zero_truncate_and_growth(client):
    async def data():
        return (await client.run("o", read())).ops[0].outdata

    await client.run("o", zero(2, 3))
    assert await data() == b"01\0\0\x0056789"
    await client.run("o", zero(8, 2))  # reaching the end cuts off
    assert await data() == b"01\0\0\x00567"
    await client.run("o", zero(100, 5))
    await client.run("o", truncate(4), truncate(6))
    assert await data() == b"01\0\0\0\0"
    await client.run("o", write(b"", 9))
    assert await data() == b"01" + bytes(7)
    await client.run("o", writesame(1, 6, b"ab"))
    assert await data() == b"0ababab" + bytes(2)


async def test_size_changes_within_one_vector(client):
    async def data(*ops):
        await client.run("v", writefull(bytes(range(10)) * 5000))
        assert (await client.run("v", *ops)).result == 0
        return (await client.run("v", read())).ops[0].outdata

    old = bytes(range(10)) * 5000
    assert await data(write(b"x" * 9, 70_000), truncate(20), append(b"yz")) == old[:20] + b"yz"
    assert await data(truncate(20_001), truncate(60_000), write(b"e", 60_000)) == old[:20_001] + bytes(39_999) + b"e"
    assert await data(truncate(5), zero(2, 100), append(b"a"), zero(50, 9)) == old[:2] + b"a"
    assert await data(delete(), create(), write(b"new", 4)) == bytes(4) + b"new"
    assert await data(delete(), append(b"1"), delete(), append(b"2")) == b"2"
    assert await data(write(b"w" * 16384, 16384), zero(16384, 16384), write(b"k", 20_000)) == (
        old[:16384] + bytes(20_000 - 16384) + b"k" + bytes(32768 - 20_001) + old[32768:]
    )
    assert await data(writefull(b"abc"), write(b"d", 5), truncate(4), writefull(b""), append(b"q")) == b"q"


async def test_a_request_to_another_group_than_its_objects_is_dropped(client):
    message = client.op("o", [writefull(b"x")])
    message.pg = PgId(message.pg.pool, message.pg.seed ^ 1)
    answer = client.submit(message)
    assert (await asyncio.wait_for(client.unasked.get(), 5)).newest == 1
    assert not answer.done()


async def test_big_objects_are_sparse_and_come_back(client):
    pattern = bytes(range(251)) * 1000
    await client.run("big", write(pattern, 3 << 20), write(b"end", (8 << 20) - 3))
    reply = await client.run("big", read())
    expected = bytes(3 << 20) + pattern
    expected += bytes((8 << 20) - 3 - len(expected)) + b"end"
    assert reply.ops[0].outdata == expected
    reply = await client.run("big", OSDOp(OpCode.SPARSE_READ, Extent(0, 8 << 20)))
    decoder = Decoder(reply.ops[0].outdata)
    extents = decoder.map(decoder.u64, decoder.u64)
    found = bytearray(8 << 20)
    blob = memoryview(decoder.blob())
    for offset, length in extents.items():
        found[offset : offset + length] = blob[:length]
        blob = blob[length:]
    assert found == expected
    assert sum(extents.values()) < 1 << 20
    mapped = Decoder((await client.run("big", OSDOp(OpCode.MAPEXT, Extent(0, 8 << 20)))).ops[0].outdata)
    assert mapped.map(mapped.u64, mapped.u64) == extents
    await client.run("big", truncate(1 << 20), truncate(8 << 20))
    assert (await client.run("big", read())).ops[0].outdata == bytes(8 << 20)


async def test_stat_and_versions(client):
    reply = await client.run("s", write(b"abc"), mtime_ns=5_000_000_007)
    version = reply.user_version
    assert reply.replay_version.epoch == 1
    assert reply.bad_replay_version == (1, version)
    assert reply.flags == 0x400020 | 5
    reply = await client.run("s", stat(), flags=0x400014)
    assert reply.ops[0].outdata == u64(3) + (5).to_bytes(4, "little") + (7).to_bytes(4, "little")
    assert reply.user_version == version
    assert reply.replay_version == (0, 0)
    again = await client.run("s", write(b"d"))
    assert again.user_version > version
    failed = await client.run("s", create(exclusive=True))
    assert failed.user_version == again.user_version
    assert failed.replay_version.version == again.replay_version.version + 1
    refused = await client.run("none", read(), flags=0x400014)
    assert (refused.user_version, refused.flags) == (0, 0x400014)
    noop = await client.run("s", zero(99, 1))
    assert (noop.result, noop.user_version) == (0, again.user_version)
    assert (await client.run("s", getxattr("x"))).user_version == 0


async def test_outputs_of_write_vectors_are_dropped_unless_asked_for(client):
    reply = await client.run("o", getxattr("a"), setxattr("b", b""))
    assert (reply.result, reply.ops[0].outdata) == (0, b"")
    reply = await client.run("o", getxattr("a"), setxattr("b", b""), flags=0x4400024)
    assert (reply.result, reply.ops[0].outdata) == (0, b"value")
    await client.run("o", setxattr("long", b"x" * 65))
    before = await _everything(client, "o")
    reply = await client.run("o", setxattr("b", b"2"), getxattr("long"), flags=0x4400024)
    assert (reply.result, reply.ops[1].rval) == (-errno.EOVERFLOW, -errno.EOVERFLOW)
    assert await _everything(client, "o") == before
    # one that failed, or changed nothing, keeps them
    reply = await client.run("o", getxattr("a"), create(exclusive=True))
    assert (reply.result, reply.ops[0].outdata) == (-errno.EEXIST, b"value")
    reply = await client.run("o", getxattr("a"), create())
    assert (reply.result, reply.ops[0].outdata) == (0, b"value")


async def test_omap_pages(client):
    items = {f"k{n:04}".encode(): str(n).encode() for n in range(1100)}
    await client.run("m", omap_set(items), setxattr("x", b""), omap_header(b"H"))

    def page(reply):
        decoder = Decoder(reply.ops[0].outdata)
        return decoder.map(decoder.blob, decoder.blob), decoder.bool()

    found, more = page(await client.run("m", omap_get_vals(count=5000)))
    assert (list(found), more) == (list(items)[:1024], True)
    found, more = page(await client.run("m", omap_get_vals(b"k1023", 5000)))
    assert (list(found), more) == (list(items)[1024:], False)
    found, more = page(await client.run("m", omap_get_vals(b"", 5000, b"k000")))
    assert (list(found), more) == (list(items)[:10], False)
    assert page(await client.run("m", omap_get_vals(b"k0005", 2, b"k000"))) == ({b"k0006": b"6", b"k0007": b"7"}, True)
    assert page(await client.run("m", omap_get_vals(b"z", 5, b"k"))) == ({}, False)
    assert page(await client.run("m", omap_get_vals(count=0))) == ({}, True)
    decoder = Decoder((await client.run("m", omap_get_keys(b"k1097", 1))).ops[0].outdata)
    assert (decoder.list(decoder.blob), decoder.bool()) == ([b"k1098"], True)
    decoder = Decoder((await client.run("m", omap_by_keys([b"k0002", b"none", b"k0001"]))).ops[0].outdata)
    assert decoder.map(decoder.blob, decoder.blob) == {b"k0001": b"1", b"k0002": b"2"}
    await client.run("m", omap_rm_range(b"k0001", b"k1098"))
    assert list(page(await client.run("m", omap_get_vals()))[0]) == [b"k0000", b"k1098", b"k1099"]
    await client.run("m", omap_clear())
    assert page(await client.run("m", omap_get_vals()))[0] == {}
    assert (await client.run("m", OSDOp(OpCode.OMAP_GET_HEADER))).ops[0].outdata == b""
    assert (await client.run("m", getxattr("x"))).result == 0


@pytest.mark.parametrize("length", [470, 479, 480, 481, 505, 2000])
async def test_omap_keys_of_any_length_are_ordered(client, length):
    keys = [b"k" * length + tail for tail in (b"", b"\0", b"a", b"aa", b"\xff")] + [b"k" * (length - 1) + b"z", b"l"]
    for key in reversed(keys):
        await client.run("long", omap_set({key: key[-3:]}))

    async def present(after=b"", count=100):
        decoder = Decoder((await client.run("long", omap_get_vals(after, count))).ops[0].outdata)
        return list(decoder.map(decoder.blob, decoder.blob))

    assert await present() == sorted(keys)
    walked: list[bytes] = []
    while page := await present(walked[-1] if walked else b"", 1):
        walked += page
    assert walked == sorted(keys)
    await client.run("long", omap_rm(keys[:2]), omap_rm_range(keys[3], keys[3] + b"\0"))
    assert await present() == sorted(set(keys) - set(keys[:2]) - {keys[3]})


async def test_checksums(client):
    from cove.wire.crc import ceph_crc32c

    seed = b"\xff" * 4
    reply = await client.run("o", OSDOp(OpCode.CHECKSUM, Checksum(0, 0, 0, 2), seed))
    decoder = Decoder(reply.ops[0].outdata)
    assert decoder.list(decoder.u32) == [ceph_crc32c(0xFFFFFFFF, b"0123456789")]
    reply = await client.run("o", OSDOp(OpCode.CHECKSUM, Checksum(0, 8, 4, 2), seed))
    decoder = Decoder(reply.ops[0].outdata)
    assert decoder.list(decoder.u32) == [ceph_crc32c(0xFFFFFFFF, b"0123"), ceph_crc32c(0xFFFFFFFF, b"4567")]


REFUSALS = [
    ({"oid": "x" * 2049}, -errno.ENAMETOOLONG),
    ({"oid": "x" * 2048}, 0),
    ({"oid": "ü" * 1025}, -errno.ENAMETOOLONG),
    ({"oid": "o", "key": "k" * 2049}, -errno.ENAMETOOLONG),
    ({"oid": "o", "nspace": "n" * 257}, -errno.ENAMETOOLONG),
    ({"oid": "o", "nspace": "n" * 256}, 0),
    ({"oid": ""}, -errno.EINVAL),
    ({"oid": "o", "snapid": 5}, -errno.EINVAL),
    ({"oid": "o", "snapc": SnapContext(3, (5,))}, -errno.EINVAL),
    ({"oid": "o", "snapc": SnapContext(5, (5, 3))}, -errno.EOPNOTSUPP),
    ({"oid": "o", "snapc": SnapContext(5, ())}, 0),
]


@pytest.mark.parametrize(("fields", "code"), REFUSALS, ids=lambda value: str(value)[:40])
async def test_early_refusals(client, fields, code):
    fields = dict(fields)
    reply = await client.run(fields.pop("oid"), create(), **fields)
    assert reply.result == code
    if code:
        assert (reply.user_version, reply.replay_version, reply.bad_replay_version) == (0, (0, 0), (0, 0))
        assert reply.flags == 0x400024


async def test_reads_at_a_snapshot_are_not_offered(client):
    assert (await client.run("o", read(), snapid=5)).result == -errno.EOPNOTSUPP


async def test_too_much_input(client):
    big = bytes(46 << 20)
    assert (await client.run("o", write(big), write(big))).result == -errno.EMSGSIZE


async def test_long_and_odd_names_are_objects_of_their_own(client):
    names = ["x" * 2048, "x" * 2047 + "y", "x" * 470, "a\0b", "a\0", "a", "\udcff\udcfe", "ü"]
    for number, name in enumerate(names):
        await client.run(name, writefull(str(number).encode()))
    for nspace in ("n1", "n2"):
        await client.run("a", writefull(nspace.encode()), nspace=nspace)
    await client.run("a", writefull(b"keyed"), key="elsewhere")
    for number, name in enumerate(names):
        assert (await client.run(name, read())).ops[0].outdata == str(number).encode()
    assert (await client.run("a", read(), nspace="n2")).ops[0].outdata == b"n2"
    assert (await client.run("a", read(), key="elsewhere")).ops[0].outdata == b"keyed"


async def test_an_xattr_input_shorter_than_it_says(client):
    op = xattr_op(OpCode.SETXATTR, "name", b"value")
    op.indata = b"na"
    assert (await client.run("o", op)).result == -errno.EINVAL
    assert encoded(lambda e: e.u8(1)) == b"\1"
