# mypy: allow-untyped-calls
from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.store.keys import ObjectName, full_object_key, is_shortened, object_key, parse_full_key, shorten
from cove.store.listing import pg_positions
from cove.wire.encoding import Decoder, Encoder
from cove.wire.hashing import reverse_bits, stable_mod
from cove.wire.hobject import decode_hobject, encode_hobject, pg_bits
from cove.wire.messages import MOSDOp
from cove.wire.osd_ops import OpCode, OSDOp, PgList
from cove.wire.types import HOBJECT_MAX, HOBJECT_MIN, NOSNAP, HObject, ObjectLocator, PgId
from tests.unit.store.harness import create, running_store

NAME = st.binary(max_size=30)
NAMES = st.builds(ObjectName, NAME, NAME, NAME.filter(bool), st.integers(0, 2**64 - 1))


@given(st.integers(0, 2**40), st.integers(0, 2**32 - 1), NAMES)
def test_keys_tell_the_name(pool, raw_hash, name):
    assert parse_full_key(full_object_key(pool, raw_hash, name)) == (pool, raw_hash, name)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), NAMES), min_size=2, max_size=8))
def test_keys_sort_as_listings_run(objects):
    def order(item):
        pool, raw_hash, name = item
        return pool, reverse_bits(raw_hash), name.nspace, name.key or name.oid, bool(name.key), name.oid, name.snap

    assert sorted(objects, key=lambda item: full_object_key(*item)) == sorted(objects, key=order)


def test_long_keys_are_cut_and_stay_different():
    names = ["x" * 2048, "x" * 2047 + "y", "x" * 600]
    keys = {object_key(1, 7, "", "", name) for name in names}
    assert len(keys) == 3
    assert max(map(len, keys)) <= 511
    full = full_object_key(1, 7, ObjectName(b"", b"", b"short"))
    assert not is_shortened(full)
    assert shorten(full) == full


@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_every_hash_lies_in_the_positions_of_its_group(raw_hash, pg_num):
    seed = stable_mod(raw_hash, pg_num)
    first, end = pg_positions(seed, pg_num)
    assert first <= reverse_bits(raw_hash) < end
    assert 0 <= pg_bits(seed, pg_num) <= 8


@pytest.mark.parametrize("pg_num", [1, 2, 12, 32, 33])
def test_the_groups_cover_all_positions_once(pg_num):
    ranges = sorted(pg_positions(seed, pg_num) for seed in range(pg_num))
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 1 << 32
    assert all(a[1] == b[0] for a, b in pairwise(ranges))


@pytest.mark.parametrize("name", [HOBJECT_MIN, HOBJECT_MAX, HObject(3, "o", 77, "k", "n", 5)])
def test_names_come_back(name):
    encoder = Encoder()
    encode_hobject(encoder, name)
    assert decode_hobject(Decoder(encoder.bytes())) == name


def listing_op(pool, cursor, nspace, count, seed):
    encoder = Encoder()
    encode_hobject(encoder, cursor)
    return [OSDOp(OpCode.PGNLS, PgList(count), encoder.bytes())], ObjectLocator(pool, "", nspace, seed)


async def page(client, cursor, nspace="", count=1024, pool=1):
    seed = cursor.hash if not cursor.max else 0
    ops, locator = listing_op(pool, cursor, nspace, count, seed)
    message = MOSDOp(
        tid=next(client.tids),
        pg=PgId(pool, seed & 31),
        raw_hash=seed,
        epoch=1,
        flags=0x420014,
        oid="",
        locator=locator,
        ops=ops,
    )
    reply = await client.submit(message)
    if reply.result < 0:
        return reply.result, None, []
    decoder = Decoder(reply.ops[0].outdata)
    with decoder.versioned(1):
        handle = decode_hobject(decoder)
        names = decoder.list(lambda: (decoder.str(), decoder.str(), decoder.str()))
    return reply.result, handle, names


async def walk(client, nspace="", count=1024, pool=1):
    cursor, found = HOBJECT_MIN, []
    for _ in range(2000):
        result, cursor, names = await page(client, cursor, nspace, count, pool)
        assert result in (0, 1)
        assert len(names) <= count
        found += names
        if cursor.max:
            return found
    raise AssertionError("the listing does not end")


async def test_every_object_is_listed_once(tmp_path):
    async with running_store(tmp_path / "s") as (_, client):
        plain = {f"object{n}" for n in range(150)} | {"x" * 2048, "a\0b"}
        for name in plain:
            await client.run(name, create())
        for nspace in ("n1", "n2"):
            await client.run("in a namespace", create(), nspace=nspace)
        await client.run("keyed", create(), key="k")
        await client.run("elsewhere", create(), pool=2)
        expected = {("", name, "") for name in plain} | {("", "keyed", "k")}
        for count in (1, 7, 1024):
            found = await walk(client, count=count)
            assert len(found) == len(set(found))
            assert set(found) == expected
        assert await walk(client, "n1") == [("n1", "in a namespace", "")]
        everything = await walk(client, "\x01", 5)
        assert set(everything) == expected | {("n1", "in a namespace", ""), ("n2", "in a namespace", "")}
        assert await walk(client, pool=2) == [("", "elsewhere", "")]


async def test_what_can_not_be_listed(tmp_path):
    async with running_store(tmp_path / "s") as (_, client):
        ops, locator = listing_op(1, HObject(1, "", 1), "", 10, 1)
        message = client.op("", ops)
        message.pg, message.locator = PgId(1, 2), locator
        assert (await client.submit(message)).result == -errno.EINVAL  # the cursor is in another group
        assert (await page(client, HOBJECT_MAX))[0] == -errno.EINVAL
        for op in (OSDOp(OpCode.PGNLS, PgList(5), b"\1"), OSDOp(OpCode.PGNLS_FILTER, PgList(5), b"")):
            assert (await client.run("", op)).result == -errno.EINVAL
        ops, _ = listing_op(1, HOBJECT_MIN, "", 10, 0)
        assert (await client.run("", *ops, snapid=4)).result == -errno.EINVAL
        assert HOBJECT_MIN.snap == 0 != NOSNAP
