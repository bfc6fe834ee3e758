"""The facade against the embedded store: values, exceptions, completions, callbacks, handles that are dropped."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from cove.rados import sync as rados
from cove.rados.errors import Error as ClientError
from cove.rados.operations import WriteOp
from cove.rados.sync import runtime

from .conftest import Handle


def test_data(ioctx: rados.Ioctx) -> None:
    assert ioctx.write("a", b"hello") == 0
    assert ioctx.append("a", b"!") == 0
    assert ioctx.read("a") == b"hello!"
    assert ioctx.read("a", 2, 1) == b"el"
    assert ioctx.trunc("a", 2) == 0
    size, mtime = ioctx.stat("a")
    assert size == 2
    assert abs(time.mktime(mtime) - time.time()) < 60
    assert ioctx.get_last_version() > 0
    assert ioctx.remove_object("a") is True
    with pytest.raises(rados.ObjectNotFound) as caught:
        ioctx.read("a")
    assert str(caught.value) == "[errno 2] RADOS object not found (Ioctx.read(rbd): failed to read a)"
    assert isinstance(caught.value.__cause__, ClientError)
    assert caught.value.__cause__.oid == "a"


def test_attributes_and_omap(ioctx: rados.Ioctx) -> None:
    assert ioctx.set_xattr("a", "k", b"v")
    assert ioctx.get_xattr("a", "k") == b"v"
    assert list(ioctx.get_xattrs("a")) == [("k", b"v")]
    assert ioctx.rm_xattr("a", "k")
    with pytest.raises(rados.NoData):
        ioctx.get_xattr("a", "k")
    with rados.WriteOpCtx() as op:
        ioctx.set_omap(op, ("a", b"\xff"), (b"1", b"2"))
        ioctx.operate_write_op(op, "a")
    with rados.ReadOpCtx() as read:
        found, zero = ioctx.get_omap_vals(read, "", "", 10, omap_key_type=bytes)
        assert zero == 0
        assert list(found) == []
        ioctx.operate_read_op(read, "a")
        assert list(found) == [(b"a", b"1"), (b"\xff", b"2")]


def test_steps_are_taken_out_when_they_are_sent(ioctx: rados.Ioctx) -> None:
    op = ioctx.create_write_op()
    op.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
    ioctx.operate_write_op(op, "a")
    op.append(b"x")
    ioctx.operate_write_op(op, "a")
    assert ioctx.read("a") == b"x"
    op.append(b"y")
    ioctx.release_write_op(op)
    ioctx.operate_write_op(op, "a")
    assert ioctx.read("a") == b"x"
    with pytest.raises(rados.InvalidArgumentError):
        op.set_flags(1)


def test_completions(ioctx: rados.Ioctx) -> None:
    told: list[Any] = []
    threads = set()

    def written(completion: rados.Completion) -> None:
        threads.add(threading.current_thread())
        told.append(completion.get_return_value())
        told.append(ioctx.read("a"))

    written_completion = ioctx.aio_write_full("a", b"1", written, written)
    assert written_completion.wait_for_complete_and_cb() == 0
    assert told == [0, b"1", 0, b"1"]
    assert threading.main_thread() not in threads
    read = ioctx.aio_read("a", 10, 0, lambda completion, data: told.append(data))
    read.wait_for_complete_and_cb()
    assert told[-1] == b"1"
    assert sys.getrefcount(read) == 2
    assert read.get_return_value() == 1
    missing = ioctx.aio_read("none", 10, 0, lambda completion, data: told.append(data))
    missing.wait_for_safe_and_cb()
    assert (told[-1], missing.get_return_value()) == (None, -errno.ENOENT)
    silent = ioctx.aio_remove("a")
    silent.wait_for_safe()
    assert silent.is_safe()


def test_callbacks_are_called_in_order_and_may_raise(ioctx: rados.Ioctx) -> None:
    order: list[int] = []

    def callback(number: int) -> Any:
        def run(completion: rados.Completion) -> None:
            order.append(number)
            raise KeyboardInterrupt

        return run

    pending = [ioctx.aio_append("a", b"x", callback(number)) for number in range(100)]
    pending[-1].wait_for_complete_and_cb()
    assert order == list(range(100))
    assert ioctx.read("a") == b"x" * 100


def test_settings_go_with_the_operations_that_follow(ioctx: rados.Ioctx) -> None:
    pending = []
    for number in range(50):
        ioctx.set_namespace(f"n{number}")
        pending.append(ioctx.aio_write_full("a", b"%d" % number))
    ioctx.aio_flush()
    assert all(one.get_return_value() == 0 for one in pending)
    for number in range(50):
        ioctx.set_namespace(f"n{number}")
        assert ioctx.read("a") == b"%d" % number
    ioctx.set_namespace(rados.LIBRADOS_ALL_NSPACES)
    assert {entry.nspace for entry in ioctx.list_objects()} == {f"n{number}" for number in range(50)}
    ioctx.set_namespace("")
    ioctx.set_read(5)
    with pytest.raises(rados.OSError) as caught:
        ioctx.write("a", b"")
    assert caught.value.errno == errno.EROFS
    ioctx.set_read(rados.LIBRADOS_SNAP_HEAD)
    ioctx.write("a", b"")


def test_listing_by_pages(ioctx: rados.Ioctx) -> None:
    names = {f"o{number}" for number in range(2500)}
    for name in names:
        ioctx.aio_write_full(name, b"")
    ioctx.aio_flush()
    assert {entry.key for entry in ioctx.list_objects()} == names
    entry = next(ioctx.list_objects())
    entry.write(b"12345")
    assert (entry.offset, entry.locator_key, entry.nspace) == (5, None, "")
    entry.seek(1)
    assert entry.read(2) == b"23"
    entry.remove()
    with pytest.raises(rados.ObjectStateError):
        entry.stat()


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda io: io.write("a", "text"), TypeError, r"'data' has incorrect type \(expected bytes, got str\)"),
        (lambda io: io.read(5), TypeError, r"'key' has incorrect type \(expected str, got int\)"),
        (lambda io: io.read(None), TypeError, "key must be a string"),
        (lambda io: io.read("a", -1), OverflowError, "negative value to size_t"),
        (lambda io: io.read("a", 1, -1), OverflowError, "negative value to uint64_t"),
        (lambda io: io.read("a", 1, 2**64), OverflowError, "too large"),
        (lambda io: io.trunc("a", "x"), TypeError, "an integer is required"),
        (lambda io: io.set_read(None), TypeError, "an integer is required"),
        (lambda io: io.set_omap(io.create_write_op(), ("a",), ()), rados.Error, "same number"),
    ],
)
def test_arguments(ioctx: rados.Ioctx, call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call(ioctx)


def test_states(handle: Handle) -> None:
    assert handle.state == "configuring"
    with pytest.raises(rados.RadosStateError):
        handle.list_pools()
    with handle:
        assert handle.state == "connected"
        with pytest.raises(rados.RadosStateError):
            handle.connect()
        ioctx = handle.open_ioctx("rbd")
        with pytest.raises(rados.ObjectNotFound, match=r"error opening pool 'none'"):
            handle.open_ioctx("none")
        with ioctx.dup() as other:
            assert other.get_pool_id() == ioctx.get_pool_id()
        with pytest.raises(rados.IoctxStateError):
            other.read("a")
    assert handle.state == "shutdown"
    handle.shutdown()
    with pytest.raises(rados.RadosStateError):
        ioctx.read("a")
    ioctx.close()


def test_shutdown_completes_everything(cluster: Handle) -> None:
    ioctx = cluster.open_ioctx("rbd")
    told: list[int] = []
    pending = [ioctx.aio_append("a", b"x", lambda one: told.append(one.get_return_value())) for _ in range(500)]
    cluster.shutdown()
    for one in pending:
        one.wait_for_complete_and_cb()
    assert len(told) == 500
    assert set(told) <= {0, -errno.ESHUTDOWN}


def test_nothing_is_submitted_after_the_end(cluster: Handle) -> None:
    ioctx = cluster.open_ioctx("rbd")
    context, session = ioctx._context()
    cluster.shutdown()
    late = rados.Completion(ioctx, lambda one: None)
    with pytest.raises(rados.RadosStateError):
        session.submit(late, context, "a", WriteOp().remove())


def test_waiting_for_other_callbacks_in_a_callback(ioctx: rados.Ioctx) -> None:
    told: list[int] = []

    def callback(one: rados.Completion) -> None:
        inner = ioctx.aio_write("a", b"1", 0, lambda inner: told.append(2))
        inner.wait_for_complete_and_cb()  # its callback comes after this one
        told.append(inner.get_return_value())

    ioctx.aio_write("a", b"", 0, callback).wait_for_complete_and_cb()
    ioctx.aio_write("a", b"", 0, lambda one: None).wait_for_complete_and_cb()
    assert told == [0, 2]


@pytest.mark.parametrize("timeout", [None, -1, 0.0])
def test_no_time_out_of_its_own(handle: Handle, timeout: float | None) -> None:
    handle.connect(timeout=timeout)
    assert handle.state == "connected"


def test_calls_of_other_threads_during_shutdown(cluster: Handle) -> None:
    ioctx = cluster.open_ioctx("rbd")
    started = threading.Barrier(9)
    ended: list[BaseException] = []

    def work(call: Any) -> None:
        started.wait()
        try:
            while True:
                call()
        except BaseException as problem:
            ended.append(problem)

    calls = [
        lambda: ioctx.write("a", b"x"),
        lambda: ioctx.aio_append("a", b"x").wait_for_complete_and_cb(),
        lambda: ioctx.set_namespace(""),
        lambda: cluster.pool_lookup("rbd"),
    ]
    threads = [threading.Thread(target=work, args=(call,), daemon=True) for call in calls * 2]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.05)  # in the middle of it all
    cluster.shutdown()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert all(isinstance(problem, rados.Error) for problem in ended), ended


def test_shutdown_in_a_callback(cluster: Handle) -> None:
    ioctx = cluster.open_ioctx("rbd")
    ioctx.aio_write("a", b"", 0, lambda one: cluster.shutdown()).wait_for_complete_and_cb()
    assert cluster.state == "shutdown"


def test_a_dropped_handle_disconnects(handle: Handle) -> None:
    other = Handle()
    other.network = handle.network
    other.connect()
    client = other.session().client
    ioctx = other.open_ioctx("rbd")
    ioctx.aio_write("a", b"1")
    del other, ioctx
    gc.collect()
    deadline = time.monotonic() + 10
    while client._objecter is not None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_interrupt_cancels_the_operation(cluster: Handle) -> None:
    async def never() -> None:
        import asyncio

        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    cancelled = threading.Event()
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            cluster.session().run(never)
    finally:
        signal.signal(signal.SIGINT, before)
    assert cancelled.wait(10)
    assert cluster.pool_exists("rbd")


def test_a_blocking_call_on_the_loop_is_refused(cluster: Handle, ioctx: rados.Ioctx) -> None:
    async def call() -> None:
        ioctx.read("a")

    with pytest.raises(rados.LogicError, match="wait for ever"):
        cluster.session().run(call)


def test_many_posts_cost_one_wake_up(cluster: Handle, ioctx: rados.Ioctx, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = cluster.session().thread
    gate, woken = threading.Event(), []

    class Counted:
        """The loop, with its wake-ups counted."""

        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        def call_soon_threadsafe(self, *what: Any) -> Any:
            woken.append(what)
            return loop.call_soon_threadsafe(*what)

    loop = thread.loop
    monkeypatch.setattr(thread, "loop", Counted())
    thread.post(gate.wait)  # the loop is busy
    pending = [ioctx.aio_append("a", b"x") for _ in range(200)]
    gate.set()
    for one in pending:
        one.wait_for_complete()
    assert len(woken) <= 3


def test_the_loop_ends_with_its_last_user() -> None:
    first = runtime.acquire()
    second = runtime.acquire()
    assert first is second
    runtime.release(first)
    assert first._thread.is_alive()
    runtime.release(second)
    assert not first._thread.is_alive()
    assert runtime.acquire() is not first
    assert runtime.state.thread is not None
    runtime.release(runtime.state.thread)
