# mypy: allow-untyped-calls
"""Group commit, order of answers, duplicates, and what happens when a commit fails."""

from __future__ import annotations

import asyncio
import errno
import threading
import time

import lmdb
import pytest

from cove.store import pipeline
from cove.store.engine import Engine
from cove.wire.osd_ops import OpCode
from tests.unit.store.harness import (
    TIMEOUT_S,
    Client,
    append,
    cmpext,
    cmpxattr,
    create,
    delete,
    getxattr,
    omap_get_vals,
    omap_set,
    read,
    running_store,
    setxattr,
    stat,
    write,
    writefull,
)

EQUAL = 1


class Gate:
    """Holds the commit thread before each commit until it is opened."""

    def __init__(self, monkeypatch) -> None:
        self.open = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.errors: list[Exception] = []
        commit = Engine.commit

        def held(engine, layer, next_number):
            self.arrived.release()
            assert self.open.wait(TIMEOUT_S)
            if self.errors:
                raise self.errors.pop(0)
            commit(engine, layer, next_number)

        monkeypatch.setattr(Engine, "commit", held)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.arrived.acquire, True, TIMEOUT_S)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_waits_together_shares_one_fsync(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (store, client):
        gate = Gate(monkeypatch)
        before = store.stats.copy()
        first = client.submit(client.op("o0", [write(b"x")]))
        await gate.reached()
        others = [client.submit(client.op(f"o{n % 7}", [write(bytes((n,)), n)])) for n in range(1, 101)]
        await settle()
        assert not first.done()
        assert not any(other.done() for other in others)
        gate.open.set()
        await asyncio.gather(first, *others)
        happened = store.stats.since(before)
        assert (happened.operations, happened.writes, happened.commits) == (101, 101, 2)
        assert happened.bytes_written == 101


async def test_one_burst_is_at_most_a_few_commits(tmp_path):
    async with running_store(tmp_path / "s") as (store, client):
        before = store.stats.copy()
        await asyncio.gather(*(client.run(f"o{n}", write(b"x" * 4096)) for n in range(200)))
        assert 1 <= store.stats.since(before).commits <= 4


async def test_reads_never_show_what_is_not_durable(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (_, client):
        await client.run("o", writefull(b"old"))
        gate = Gate(monkeypatch)
        writing = client.submit(client.op("o", [writefull(b"new")]))
        await gate.reached()
        behind = client.submit(client.op("o", [read()]))
        created = client.submit(client.op("n", [create(exclusive=True)]))
        failing = client.submit(client.op("n", [create(exclusive=True)]))
        gone = client.submit(client.op("o", [delete()]))
        absent = client.submit(client.op("o", [stat()]))
        elsewhere = await client.run("other", read())
        assert elsewhere.result == -errno.ENOENT
        await settle()
        waiting = (writing, behind, created, failing, gone, absent)
        assert not any(future.done() for future in waiting)
        gate.open.set()
        replies = await asyncio.gather(*waiting)
        assert [reply.result for reply in replies] == [0, 0, 0, -errno.EEXIST, 0, -errno.ENOENT]
        assert replies[1].ops[0].outdata == b"new"


async def test_vectors_of_one_object_run_in_order_across_layers(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (_, client):
        gate = Gate(monkeypatch)
        futures = [client.submit(client.op("o", [append(b"0"), omap_set({b"k0": b""})]))]
        await gate.reached()
        for n in range(1, 10):
            futures.append(client.submit(client.op("o", [append(b"%d" % n), omap_set({b"k%d" % n: b""})])))
        reading = client.submit(client.op("o", [read(), omap_get_vals()]))
        await settle()
        gate.open.set()
        await asyncio.gather(*futures)
        reply = await reading
        assert reply.ops[0].outdata == b"0123456789"
        assert reply.ops[1].outdata.count(b"k") == 10


async def test_a_large_read_sees_the_moment_it_was_sent(tmp_path):
    async with running_store(tmp_path / "s") as (_, client):
        old, new = b"o" * (1 << 20), b"n" * (1 << 20)
        await client.run("big", writefull(old))
        reading = client.submit(client.op("big", [read()]))
        writing = client.submit(client.op("big", [writefull(new)]))
        after = client.submit(client.op("big", [read()]))
        assert (await reading).ops[0].outdata == old
        await writing
        assert (await after).ops[0].outdata == new


async def test_no_space_leaves_nothing_behind_and_the_store_goes_on(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (store, client):
        await client.run("o", writefull(b"old"))
        gate = Gate(monkeypatch)
        gate.errors = [lmdb.MapFullError("full")]
        lost = [client.submit(client.op("o", [writefull(b"new"), setxattr("a", b"1")]))]
        await gate.reached()
        # built on what is lost: executed again, on what is durable
        built_on = client.submit(client.op("o", [append(b"+")]))
        watching = client.submit(client.op("o", [getxattr("a")]))
        await settle()
        gate.open.set()
        assert [reply.result for reply in await asyncio.gather(*lost)] == [-errno.ENOSPC]
        assert (await built_on).result == 0
        assert (await watching).result == -errno.ENODATA
        assert (await client.run("o", read())).ops[0].outdata == b"old+"
        assert (await client.run("p", writefull(b"more"))).result == 0
    async with running_store(tmp_path / "s") as (store, client):
        assert (await client.run("o", read())).ops[0].outdata == b"old+"
        assert store.stats.commits == 0


async def test_a_full_map_gives_enospc(tmp_path):
    async with running_store(tmp_path / "s", map_size_bytes=2 << 20) as (_, client):
        codes = set()
        for n in range(8):
            codes.add((await client.run(f"o{n}", writefull(bytes(512 << 10)))).result)
        assert codes == {0, -errno.ENOSPC}
        assert (await client.run("o0", delete())).result == 0
        assert (await client.run("small", writefull(b"fits again"))).result == 0


async def test_after_an_io_error_writes_are_refused_and_reads_work(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (_, client):
        await client.run("o", writefull(b"old"))
        gate = Gate(monkeypatch)
        gate.open.set()
        gate.errors = [lmdb.Error("Input/output error")]
        assert (await client.run("o", writefull(b"new"))).result == -errno.EIO
        assert (await client.run("o", writefull(b"new"))).result == -errno.EIO
        assert (await client.run("o", read())).ops[0].outdata == b"old"


async def test_a_vector_that_breaks_while_it_is_applied_is_never_half_there(tmp_path, monkeypatch):
    from cove.store import state

    def broken(writer, name, value):
        raise OSError("unreadable page")

    async with running_store(tmp_path / "s") as (_, client):
        await client.run("o", writefull(b"old"))
        with monkeypatch.context() as patch:
            patch.setitem(state._STEPS, "set_xattr", broken)
            sent = [client.submit(client.op("p", [writefull(b"before")]))]
            sent.append(client.submit(client.op("o", [writefull(b"half"), setxattr("a", b"")])))
            assert [reply.result for reply in await asyncio.gather(*sent)] == [-errno.EIO, -errno.EIO]
        assert (await client.run("o", writefull(b"new"))).result == -errno.EIO
        assert (await client.run("o", read())).ops[0].outdata == b"old"
    async with running_store(tmp_path / "s") as (_, client):
        assert (await client.run("o", read())).ops[0].outdata == b"old"
        assert (await client.run("p", read())).result == -errno.ENOENT
        assert (await client.run("o", writefull(b"new"))).result == 0


async def test_a_mistake_in_an_operation_fails_its_request_only(tmp_path, monkeypatch):
    from cove.store import interpreter

    def broken(context, op):
        raise ZeroDivisionError

    monkeypatch.setitem(interpreter.HANDLERS, OpCode.STAT, broken)
    async with running_store(tmp_path / "s") as (_, client):
        await client.run("o", writefull(b"x"))
        assert (await client.run("o", stat())).result == -errno.EIO
        assert (await client.run("o", stat(), append(b"y"))).result == -errno.EIO
        assert (await client.run("o", read())).ops[0].outdata == b"x"


async def test_a_repeated_request_gets_the_first_answer(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (store, client):
        number = client.messenger.name.number
        message = client.op("o", [create(exclusive=True), append(b"x")], tid=900)
        first = await client.submit(message)
        again = await client.submit(client.op("o", message.ops, tid=900, flags=0x40002C, retry_attempt=1))
        assert (again.result, again.user_version, again.retry_attempt) == (0, first.user_version, 1)
        assert again.replay_version == first.replay_version
        assert again.flags == 0x40002C
        failed = await client.submit(client.op("o", [create(exclusive=True)], tid=901))
        await client.run("o", delete())
        again = await client.submit(client.op("o", [create(exclusive=True)], tid=901))
        assert (failed.result, again.result) == (-errno.EEXIST, -errno.EEXIST)
        assert store.stats.duplicates == 2
        gate = Gate(monkeypatch)
        client.submit(client.op("p", [append(b"y")], tid=902))
        await gate.reached()
        twice = client.submit(client.op("p", [append(b"y")], tid=902))
        await settle()
        assert not twice.done()
        gate.open.set()
        assert (await asyncio.wait_for(twice, TIMEOUT_S)).result == 0
        second = await asyncio.wait_for(client.unasked.get(), TIMEOUT_S)
        assert (second.tid, second.result) == (902, 0)
    async with running_store(tmp_path / "s") as (store, _):
        client = Client(store._messengers[0].network, number)
        again = await client.submit(client.op("o", message.ops, tid=900))
        assert (again.result, again.user_version) == (0, first.user_version)
        assert store.stats.duplicates == 1
        assert (await client.run("p", read(), tid=950)).ops[0].outdata == b"y"
        await client.messenger.shutdown()


async def test_a_repeated_request_whose_first_run_is_durable_does_not_fail_with_a_later_one(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (_, client):
        await client.submit(client.op("o", [append(b"x")], tid=900))
        gate = Gate(monkeypatch)
        gate.errors = [lmdb.MapFullError("full")]
        lost = client.submit(client.op("o", [append(b"y")], tid=901))
        await gate.reached()
        again = client.submit(client.op("o", [append(b"x")], tid=900))
        lost_again = client.submit(client.op("o", [append(b"y")], tid=902))
        await settle()
        gate.open.set()
        assert (await asyncio.wait_for(lost, TIMEOUT_S)).result == -errno.ENOSPC
        assert (await asyncio.wait_for(again, TIMEOUT_S)).result == 0
        assert (await asyncio.wait_for(lost_again, TIMEOUT_S)).result == 0
        assert (await client.run("o", read(), tid=950)).ops[0].outdata == b"xy"


async def test_a_repeated_request_gets_the_results_of_its_operations(tmp_path):
    returnvec = 0x4400024
    sent = {
        900: ([create(), cmpext(0, b"\0\1")], 0x400024),
        901: ([stat(), cmpext(0, b"abcd"), create()], 0x400024),
        902: ([setxattr("a", b"1"), cmpxattr("b", b"", op=EQUAL)], returnvec),
        903: ([setxattr("a", b"1"), getxattr("b")], returnvec),
    }
    first = {}
    async with running_store(tmp_path / "s") as (store, client):
        number = client.messenger.name.number
        await client.run("o", writefull(b"abcx"), setxattr("b", b""))
        for tid, (ops, flags) in sent.items():
            reply = await client.submit(client.op("o", ops, tid=tid, flags=flags))
            first[tid] = (reply.result, [(op.rval, op.outdata) for op in reply.ops])
        assert first[900][0] == -4095
        assert first[901][1][1][0] == -4095 - 3
        assert first[902] == (1, [(0, b""), (1, b"")])
        await client.run("o", writefull(b"another commit"))
    async with running_store(tmp_path / "s") as (store, _):
        client = Client(store._messengers[0].network, number)
        for tid, (ops, flags) in sent.items():
            reply = await client.submit(client.op("o", ops, tid=tid, flags=flags))
            assert (reply.result, [(op.rval, op.outdata) for op in reply.ops]) == first[tid]
        assert store.stats.duplicates == 4
        await client.messenger.shutdown()


async def test_answers_of_failing_requests_do_not_pile_up(tmp_path, monkeypatch):
    from cove.store import dups, layer

    monkeypatch.setattr(dups, "REQUESTS_MAX", 500)
    monkeypatch.setattr(layer, "RECORDED_MAX", 100)
    async with running_store(tmp_path / "s") as (store, client):
        for _ in range(10):
            await asyncio.gather(*(client.run("none", delete()) for _ in range(300)))
            await client.run("some", writefull(b"x"))  # waits for a commit, however long the disk takes for it
        kept = store._osd._dups
        assert len(kept._answers) <= 1500
        assert sum(count for _, count in kept._batches) <= 1500
        assert 0 < store.stats.commits <= 40


async def test_a_mistake_in_one_answer_does_not_hold_up_the_others(tmp_path, monkeypatch):
    from cove.store.osd import Osd

    async with running_store(tmp_path / "s") as (_, client):
        reply = Osd._reply

        def broken(osd, job, *arguments, **named):
            if job.message.oid == "broken":
                raise RuntimeError("no room on the connection")
            reply(osd, job, *arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(Osd, "_reply", broken)
            client.submit(client.op("broken", [writefull(b"x")]))
            assert (await client.run("whole", writefull(b"y"))).result == 0
        assert (await client.run("later", writefull(b"z"))).result == 0


async def test_a_long_backlog_leaves_the_loop_to_others(tmp_path, monkeypatch):
    from cove.store import osd

    monkeypatch.setattr(osd, "STARTS_PER_TURN", 5)
    async with running_store(tmp_path / "s") as (store, client):
        await client.run("o", writefull(b"x"))
        gate = Gate(monkeypatch)
        monkeypatch.setattr(pipeline, "LAYER_OPERATIONS_MAX", 1)
        writes = [client.submit(client.op("p", [append(b"1")])) for _ in range(2)]
        await gate.reached()
        reads = [client.submit(client.op("o", [read()])) for _ in range(500)]
        await settle()
        assert len(store._osd._backlog) == 500
        steps = []
        starting = store._osd._start

        def start(job):
            steps.append("read")
            starting(job)

        monkeypatch.setattr(store._osd, "_start", start)

        async def others():
            while not all(answer.done() for answer in reads):
                steps.append("other")
                await asyncio.sleep(0)

        gate.open.set()
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*writes, *reads, others())
        longest = max(len(run) for run in " ".join(steps).replace("read ", "r").split("other"))
        assert longest <= 8


async def test_the_oldest_answers_are_forgotten(tmp_path, monkeypatch):
    from cove.store import dups

    monkeypatch.setattr(dups, "REQUESTS_MAX", 10)
    async with running_store(tmp_path / "s") as (store, client):
        for tid in range(1000, 1030):
            await client.submit(client.op("o", [append(b"x")], tid=tid))
        assert len(store._osd._dups._answers) <= 12
        await client.submit(client.op("o", [append(b"y")], tid=1029))
        assert store.stats.duplicates == 1
    async with running_store(tmp_path / "s") as (store, _):
        assert 10 <= len(store._osd._dups._answers) <= 12
        assert len(store._engine.meta_items(dups.Duplicates.PREFIX)) <= 12


async def test_more_than_a_layer_holds_waits_its_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "LAYER_OPERATIONS_MAX", 5)
    async with running_store(tmp_path / "s") as (store, client):
        before = store.stats.copy()
        replies = await asyncio.gather(*(client.run("o", append(b"x")) for _ in range(43)))
        assert {reply.result for reply in replies} == {0}
        assert (await client.run("o", read())).ops[0].outdata == b"x" * 43
        assert store.stats.since(before).commits >= 9


async def test_requests_of_a_closed_connection_are_dropped(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (store, client):
        gate = Gate(monkeypatch)
        client.submit(client.op("o", [append(b"x")]))
        await gate.reached()
        await client.messenger.shutdown()
        gate.open.set()
        other = Client(store._messengers[0].network)
        # it was taken before the connection closed, so it is done, but nobody hears of it
        assert (await other.run("o", read())).ops[0].outdata == b"x"
        assert client.unasked.empty()
        await other.messenger.shutdown()


async def test_small_operations_are_quick(tmp_path):
    async with running_store(tmp_path / "s") as (_, client):
        began = time.perf_counter()
        for _ in range(5):
            await asyncio.gather(*(client.run(f"o{n}", write(b"x" * 4096)) for n in range(64)))
        assert time.perf_counter() - began < 10


@pytest.mark.parametrize("code", [OpCode.WRITE, OpCode.APPEND])
async def test_inputs_are_not_copied_needlessly(tmp_path, code):
    async with running_store(tmp_path / "s") as (_, client):
        data = memoryview(bytes(range(256)) * 400)
        op = write(data) if code == OpCode.WRITE else append(data)
        await client.run("o", op)
        assert (await client.run("o", read())).ops[0].outdata == data
