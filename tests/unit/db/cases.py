"""What a `Database` promises on every engine: the tests of tests/unit/db (SQLite) and tests/openstack (PostgreSQL).

A module that runs them imports * and has a fixture `db`: an open database with an empty table t, whose primary key x
is an integer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from cove.db import Database, DatabaseBusy, DatabaseContention, DatabaseError
from cove.db import database as database_module
from cove.db.batching import ATTEMPTS_MAX
from cove.db.locks import lock

Fn = Callable[[sa.Connection], object]
_insert = sa.text("INSERT INTO t VALUES (:x)")


def insert(x: int) -> Callable[[sa.Connection], int]:
    def fn(connection: sa.Connection) -> int:
        connection.execute(_insert, {"x": x})
        return x

    return fn


def conflict(db: Database) -> BaseException:
    """What the engine says when another transaction is in the way."""
    if db.shared:
        import psycopg.errors

        return sa.exc.OperationalError("SELECT 1", {}, psycopg.errors.DeadlockDetected("deadlock detected"))
    import sqlite3

    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return sa.exc.OperationalError("BEGIN", {}, busy)


async def values(db: Database) -> list[int]:
    return await db.read(lambda c: [row[0] for row in c.exec_driver_sql("SELECT x FROM t ORDER BY x")])


class Holder:
    """A write function that keeps the writer thread busy until it is told to go on, so that others queue up."""

    def __init__(self) -> None:
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, connection: sa.Connection) -> None:
        self.started.set()
        assert self.go.wait(20)


async def together(db: Database, *functions: Callable[[sa.Connection], object]) -> list[object]:
    """Results or errors of functions that share a transaction."""
    holder = Holder()
    holding = asyncio.create_task(db.write(holder))
    assert await asyncio.to_thread(holder.started.wait, 20)
    tasks = [asyncio.create_task(db.write(fn)) for fn in functions]
    await asyncio.sleep(0)
    holder.go.set()
    await holding
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_readers_cannot_write(db: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
        await db.read(insert(1))


async def test_an_error_undoes_its_own_changes_only(db: Database) -> None:
    def fails(connection: sa.Connection) -> None:
        insert(2)(connection)
        raise RuntimeError("no")

    before = db.statistics["transactions"]
    results = await together(db, insert(1), fails, insert(3))
    assert results[0] == 1
    assert isinstance(results[1], RuntimeError)
    assert results[2] == 3
    assert await values(db) == [1, 3]
    assert db.statistics["transactions"] - before == 2  # the holder's, and one for all three


@pytest.mark.parametrize("order", ["first", "middle", "last", "all"])
async def test_wherever_an_error_stands_in_its_transaction(db: Database, order: str) -> None:
    def fails(connection: sa.Connection) -> None:
        insert(100)(connection)
        raise RuntimeError("no")

    good: list[Fn] = [insert(1), insert(2)]
    orders: dict[str, list[Fn]] = {
        "first": [fails, fails, *good],
        "middle": [good[0], fails, fails, good[1]],
        "last": [*good, fails, fails],
        "all": [fails, fails],
    }
    functions = orders[order]
    results = await together(db, *functions)
    assert [isinstance(r, RuntimeError) for r in results] == [fn is fails for fn in functions]
    assert await values(db) == ([] if order == "all" else [1, 2])


async def test_an_error_alone_in_its_transaction(db: Database) -> None:
    def fails(connection: sa.Connection) -> None:
        insert(1)(connection)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await db.write(fails)
    assert await db.write(insert(2)) == 2
    assert await values(db) == [2]


async def test_constraint_errors_reach_the_caller(db: Database) -> None:
    await db.write(insert(1))
    results = await together(db, *(insert(x) for x in (1, 2, 1, 3)))
    assert [isinstance(r, sa.exc.IntegrityError) for r in results] == [True, False, True, False]
    assert await values(db) == [1, 2, 3]


async def test_a_function_may_have_savepoints_of_its_own(db: Database) -> None:
    def fn(connection: sa.Connection) -> int:
        insert(1)(connection)
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            insert(1)(connection)
        return insert(2)(connection)

    assert await together(db, insert(7), fn, insert(8)) == [7, 2, 8]
    assert await values(db) == [1, 2, 7, 8]


async def test_many_writes_share_transactions(db: Database) -> None:
    before = db.statistics["transactions"]
    await asyncio.gather(*(db.write(insert(x)) for x in range(500)))
    assert await values(db) == list(range(500))
    used = db.statistics["transactions"] - before
    assert 500 / 64 <= used < 250


async def test_after_commit_comes_in_order_even_if_the_caller_is_gone(db: Database) -> None:
    seen: list[int] = []
    tasks = [asyncio.create_task(db.write(insert(x), after_commit=seen.append)) for x in range(20)]
    await asyncio.sleep(0)
    for task in tasks[5:10]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks[5:10]] == [True] * 5
    await db.write(lambda connection: None)
    assert seen == list(range(20))
    assert await values(db) == list(range(20))


async def test_after_commit_is_not_called_for_what_failed(db: Database) -> None:
    await db.write(insert(1))
    seen: list[int] = []
    with pytest.raises(sa.exc.IntegrityError):
        await db.write(insert(1), after_commit=seen.append)
    assert seen == []


async def test_a_failing_after_commit_hurts_nobody(db: Database) -> None:
    def broken(_result: int) -> None:
        raise RuntimeError("callback")

    results = await asyncio.gather(db.write(insert(1), after_commit=broken), db.write(insert(2)))
    assert list(results) == [1, 2]


async def test_a_failed_commit_is_everybodys_error_and_the_next_write_works(db: Database) -> None:
    child = "CREATE TABLE child (p INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED)"
    await db.write(lambda c: c.exec_driver_sql(child) and None)

    def breaks_the_commit(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO child VALUES (99)")

    with pytest.raises(sa.exc.IntegrityError):
        await db.write(breaks_the_commit)
    assert await db.write(insert(1)) == 1
    assert await db.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM child").scalar()) == 0


async def test_a_read_sees_one_snapshot(db: Database) -> None:
    reading, go = threading.Event(), threading.Event()

    def read(connection: sa.Connection) -> tuple[int, int]:
        first = connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one()
        reading.set()
        assert go.wait(10)
        return first, connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one()

    task = asyncio.create_task(db.read(read))
    assert await asyncio.to_thread(reading.wait, 10)
    await db.write(insert(1))
    go.set()
    assert list(await task) == [0, 0]
    assert await values(db) == [1]


async def test_close_finishes_what_waits_and_refuses_more(db: Database) -> None:
    tasks = [asyncio.create_task(db.write(insert(x))) for x in range(100)]
    await asyncio.sleep(0)
    await db.close()
    assert await asyncio.gather(*tasks) == list(range(100))
    with pytest.raises(DatabaseError, match="not open"):
        await db.write(insert(1000))
    with pytest.raises(DatabaseError, match="not open"):
        await db.read(insert(1000))
    await db.close()


# --- others in the way -----------------------------------------------------------------------------------------------


async def test_a_conflict_runs_the_whole_batch_again_one_by_one(db: Database) -> None:
    runs: dict[str, int] = {}

    def counted(name: str, fn: Fn, *, fail_first: bool = False) -> Fn:
        def run(connection: sa.Connection) -> object:
            runs[name] = runs.get(name, 0) + 1
            result = fn(connection)
            if fail_first and runs[name] == 1:
                raise conflict(db)
            return result

        return run

    results = await together(
        db,
        counted("a", insert(1)),
        counted("b", insert(2), fail_first=True),
        counted("c", insert(3)),
    )
    assert results == [1, 2, 3]
    assert await values(db) == [1, 2, 3]
    assert runs == {"a": 2, "b": 2, "c": 1}  # c had not begun when b failed
    assert db.statistics["conflicts"] == 1


async def test_a_conflict_that_a_function_wrapped_is_one_too(db: Database) -> None:
    failures = [conflict(db)]

    def fn(connection: sa.Connection) -> int:
        try:
            if failures:
                raise failures.pop()
        except sa.exc.OperationalError as error:
            raise RuntimeError("wrapped") from error
        return insert(1)(connection)

    assert await db.write(fn) == 1


async def test_a_conflict_without_end_is_told(db: Database) -> None:
    runs = 0

    def always(connection: sa.Connection) -> None:
        nonlocal runs
        runs += 1
        insert(1)(connection)
        raise conflict(db)

    results = await together(db, always, insert(2))
    assert isinstance(results[0], DatabaseContention)
    assert isinstance(results[0], DatabaseBusy)
    assert results[1] == 2
    assert runs == results[0].attempts == ATTEMPTS_MAX
    assert await values(db) == [2]


async def test_close_waits_for_what_is_to_be_run_again(db: Database) -> None:
    failures = [conflict(db) for _ in range(3)]

    def fn(connection: sa.Connection) -> int:
        insert(1)(connection)
        if failures:
            raise failures.pop()
        return 1

    task = asyncio.create_task(db.write(fn))
    await asyncio.sleep(0)
    await db.close()
    assert await task == 1


async def test_a_write_that_does_not_begin_in_time_is_not_made(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Holder()
    holding = asyncio.create_task(db.write(holder))
    assert await asyncio.to_thread(holder.started.wait, 20)
    monkeypatch.setattr(database_module, "WRITE_S_MAX", 0.05)
    with pytest.raises(DatabaseBusy, match="did not begin"):
        await db.write(insert(1))
    monkeypatch.undo()
    holder.go.set()
    await holding
    await db.write(insert(2))
    assert await values(db) == [2]


async def test_locks_of_one_process_are_never_waited_for(db: Database) -> None:
    def locked(x: int, *names: str) -> Fn:
        def fn(connection: sa.Connection) -> int:
            for name in names:
                lock(connection, "network", name)
            return insert(x)(connection)

        return fn

    assert await together(db, locked(1, "a", "b"), locked(2, "b", "a"), locked(3, "a", "a", "c")) == [1, 2, 3]
