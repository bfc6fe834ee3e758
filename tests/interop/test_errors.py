"""Errors: the number that librados gives for a request is the number that our client gives."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest

from cove.rados import Error, IoCtx, ReadOp, WriteOp
from cove.rados.operations import OpVector

from .conftest import POOL
from .peer import Librados, LibradosError


class Case(NamedTuple):
    """A request in both languages; `theirs` is a method of the io context, or of WriteOp if it is a list."""

    ours: Callable[[], OpVector]
    theirs: tuple | list
    number: int


HUGE = 1 << 40
CASES = {
    "read of nothing": Case(lambda: ReadOp().read(10), ("read", "{oid}.none"), errno.ENOENT),
    "stat of nothing": Case(lambda: ReadOp().stat(), ("stat", "{oid}.none"), errno.ENOENT),
    "remove of nothing": Case(lambda: WriteOp().remove(), ("remove_object", "{oid}.none"), errno.ENOENT),
    "xattr of nothing": Case(lambda: ReadOp().getxattr("x"), ("get_xattr", "{oid}.none", "x"), errno.ENOENT),
    "no such xattr": Case(lambda: ReadOp().getxattr("nope"), ("get_xattr", "{oid}", "nope"), errno.ENODATA),
    "xattr name too long": Case(
        lambda: WriteOp().setxattr("n" * 300, b""), ("set_xattr", "{oid}", "n" * 300, b""), errno.ENAMETOOLONG
    ),
    "object too large": Case(lambda: WriteOp().write(b"x", HUGE), ("write", "{oid}", b"x", HUGE), errno.EFBIG),
    "truncate too large": Case(lambda: WriteOp().truncate(HUGE), ("trunc", "{oid}", HUGE), errno.EFBIG),
    "object name too long": Case(lambda: ReadOp().read(1), ("read", "{oid}".ljust(2100, "x")), errno.ENAMETOOLONG),
    "no such class": Case(
        lambda: ReadOp().exec("nope", "nope"), ("execute", "{oid}", "nope", "nope", b""), errno.EOPNOTSUPP
    ),
    "no such method": Case(
        lambda: ReadOp().exec("rbd", "nope"), ("execute", "{oid}", "rbd", "nope", b""), errno.EOPNOTSUPP
    ),
    "garbage for a method": Case(
        lambda: ReadOp().exec("lock", "get_info", b"\xff"),
        ("execute", "{oid}", "lock", "get_info", b"\xff"),
        errno.EINVAL,
    ),
    "no such id": Case(lambda: ReadOp().exec("rbd", "get_id"), ("execute", "{oid}", "rbd", "get_id", b""), errno.EIO),
    "exists": Case(lambda: WriteOp().create(exclusive=True), [["new", 1]], errno.EEXIST),
    "compare": Case(lambda: WriteOp().cmpext(b"daxa"), [["cmpext", b"daxa", 0]], errno.ECANCELED),
    "old version": Case(lambda: WriteOp().assert_version(1), [["assert_version", 1]], errno.ERANGE),
    "future version": Case(lambda: WriteOp().assert_version(1 << 50), [["assert_version", 1 << 50]], errno.EOVERFLOW),
}


@pytest.mark.parametrize("name", CASES)
async def test_same_number(ioctx: IoCtx, librados: Librados, oid: str, name: str) -> None:
    case = CASES[name]
    await ioctx.write_full(oid, b"")
    await ioctx.write_full(oid, b"data")
    method, where, *arguments = case.theirs if isinstance(case.theirs, tuple) else ("", oid)
    where = where.replace("{oid}", oid)
    ask = partial(librados.call, POOL, method, where, *arguments) if method else None
    with pytest.raises(LibradosError) as theirs:
        (ask or partial(librados.ask, "write_op", [POOL], oid, case.theirs))()
    with pytest.raises(Error) as ours:
        await ioctx.operate(where, case.ours())
    if name == "compare":
        assert ours.value.result == theirs.value.result == -4095 - 2
    else:
        assert (ours.value.result, theirs.value.result) == (-case.number, -case.number)
    assert await ioctx.read(oid) == b"data"


@pytest.mark.parametrize(
    ("op", "word"), [(ReadOp().read(1), "read"), (WriteOp().exec("rbd", "nope"), "exec rbd.nope")], ids=["read", "exec"]
)
async def test_the_text_names_operation_and_object(ioctx: IoCtx, op: OpVector, word: str) -> None:
    with pytest.raises(Error) as refused:
        await ioctx.operate("no such object", op)
    assert word in str(refused.value)
    assert "no such object" in str(refused.value)


async def test_completions_give_the_number(ioctx: IoCtx) -> None:
    completion = ioctx.aio_operate("no such object", ReadOp().read())
    await completion.wait_for_complete(10)
    assert completion.get_return_value() == -errno.ENOENT
