"""Xattrs and omap: what our client sets is what librados gets, and the other way round."""

from __future__ import annotations

import os

import pytest

from cove.rados import IoCtx, NoData, ReadOp, WriteOp
from cove.wire.osd_ops import CmpOp

from .conftest import POOL
from .peer import Librados

ALL_BYTES = bytes(range(256))


async def test_xattrs_of_binary_values(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write_full(oid, b"")
    values = {"all": ALL_BYTES, "empty": b"", "zeros": bytes(10), "large": os.urandom(30_000), "ünï": b"\xff\xfe"}
    for name, value in values.items():
        await ioctx.setxattr(oid, name, value)
    assert librados.ask("xattrs", [POOL], oid) == values
    for name, value in values.items():
        assert librados.call(POOL, "get_xattr", oid, name) == value
    await ioctx.rmxattr(oid, "all")
    del values["all"]
    assert librados.ask("xattrs", [POOL], oid) == values
    librados.call(POOL, "set_xattr", oid, "theirs", ALL_BYTES[::-1])
    assert await ioctx.getxattrs(oid) == values | {"theirs": ALL_BYTES[::-1]}
    assert await ioctx.getxattr(oid, "theirs") == ALL_BYTES[::-1]
    librados.call(POOL, "rm_xattr", oid, "theirs")
    with pytest.raises(NoData):
        await ioctx.getxattr(oid, "theirs")


async def test_xattr_creates_the_object(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.setxattr(oid, "a", b"1")
    assert librados.call(POOL, "stat", oid) == [0]


async def test_omap_of_thousands_of_keys_page_by_page(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    wanted = {f"key.{number:05d}": b"%d" % number * 3 for number in range(5000)}
    await ioctx.omap_set(oid, wanted)
    assert [item async for item in ioctx.omap_items(oid)] == sorted(wanted.items())
    assert dict(librados.ask("omap", [POOL], oid)) == wanted
    page = await ioctx.omap_get_keys(oid, "key.04990", 1000)
    assert page.keys == [f"key.{number:05d}" for number in range(4991, 5000)]
    assert not page.more
    page = await ioctx.omap_get_keys(oid, "", 7)
    assert page.keys == [f"key.{number:05d}" for number in range(7)]
    assert page.more
    page_of_values = await ioctx.omap_get_vals(oid, "key.00998", "key.00", 10)
    assert page_of_values.values == {"key.00999": b"999" * 3}
    assert not page_of_values.more


async def test_omap_ranges_and_removal(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    librados.ask(
        "write_op", [POOL], oid, [["set_omap", [f"k{n:03d}" for n in range(300)], [b"v%d" % n for n in range(300)]]]
    )
    assert (await ioctx.omap_get_keys(oid)).keys == [f"k{n:03d}" for n in range(300)]
    await ioctx.omap_rm_keys(oid, ["k000", "k299", "not there"])
    await ioctx.operate(oid, WriteOp().omap_rm_range("k010", "k290"))
    left = [f"k{n:03d}" for n in [*range(1, 10), *range(290, 299)]]
    assert [key for key, _ in librados.ask("omap", [POOL], oid)] == left
    librados.ask("write_op", [POOL], oid, [["remove_omap_range2", "k003", "k292"]])
    left = ["k001", "k002", *(f"k{n}" for n in range(292, 299))]
    assert (await ioctx.omap_get_keys(oid)).keys == left
    found = await ioctx.omap_get_vals_by_keys(oid, ["k001", "k298", "k150"])
    assert found == {"k001": b"v1", "k298": b"v298"}
    await ioctx.omap_clear(oid)
    assert librados.ask("omap", [POOL], oid) == []


async def test_omap_header_keys_and_values_of_any_bytes(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.omap_set_header(oid, ALL_BYTES)
    assert await ioctx.omap_get_header(oid) == ALL_BYTES
    values = {"": b"the empty key", "a/b c": b"", "ключ": ALL_BYTES, "z" * 1000: b"long", "big": os.urandom(200_000)}
    await ioctx.omap_set(oid, values)
    assert dict(librados.ask("omap", [POOL], oid)) == {key: value for key, value in values.items() if key}
    assert await ioctx.omap_get_vals_by_keys(oid, values) == values
    await ioctx.omap_set(oid, {"\udcff\udc80": b"no utf-8"})
    assert (await ioctx.omap_get_keys(oid, "ключ")).keys == ["\udcff\udc80"]


async def test_omap_of_an_object_that_has_none(ioctx: IoCtx, oid: str) -> None:
    await ioctx.write_full(oid, b"data")
    assert await ioctx.omap_get_keys(oid) == ([], False)
    assert await ioctx.omap_get_header(oid) == b""


async def test_pages_of_many_bytes(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    values = {f"{number:02d}": os.urandom(1 << 18) for number in range(20)}
    for number in range(0, 20, 5):
        await ioctx.omap_set(oid, {key: values[key] for key in list(values)[number : number + 5]})
    assert [item async for item in ioctx.omap_items(oid)] == list(values.items())
    assert dict(librados.ask("omap", [POOL], oid)) == values
    await ioctx.remove(oid)


async def test_comparisons_decide(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.operate(oid, WriteOp().setxattr("n", b"17").setxattr("s", b"text").omap_set({"k": b"mm"}))
    await ioctx.operate(oid, ReadOp().cmpxattr("n", 17).cmpxattr("n", 16, CmpOp.LT).cmpxattr("s", b"text"))
    await ioctx.operate(oid, WriteOp().omap_cmp({"k": (b"mm", CmpOp.EQ)}).write_full(b"passed"))
    refused = ioctx.aio_operate(oid, WriteOp().omap_cmp({"k": (b"mz", CmpOp.EQ)}).write_full(b"not"))
    await refused.wait_for_complete(10)
    assert refused.get_return_value() == -125
    assert librados.read(POOL, oid) == b"passed"
