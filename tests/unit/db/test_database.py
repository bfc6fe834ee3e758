from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cove.db import Database, DatabaseError, UnsupportedDatabase
from cove.db.batching import BATCH_MAX


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/state/cove.sqlite")
    await database.start()
    await database.write(lambda c: c.exec_driver_sql("CREATE TABLE t (x INTEGER PRIMARY KEY)") and None)
    yield database
    await database.close()


def insert(x: int):
    def fn(connection: sa.Connection) -> int:
        connection.exec_driver_sql("INSERT INTO t VALUES (?)", (x,))
        return x

    return fn


async def values(db: Database) -> list[int]:
    return await db.read(lambda c: [row[0] for row in c.exec_driver_sql("SELECT x FROM t ORDER BY x")])


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:secret@h/db", "not supported yet"),
        ("postgresql+psycopg://h/db", "not supported yet"),
        ("mysql://h/db", "not supported"),
        ("sqlite://", "use sqlite:////path"),
        ("sqlite:///:memory:", "use sqlite:////path"),
        ("nonsense", "not a URL"),
    ],
)
def test_urls_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(UnsupportedDatabase, match=says) as caught:
        Database(url)
    assert "secret" not in str(caught.value)


async def test_files_are_for_the_owner_only(db: Database) -> None:
    assert stat.S_IMODE(db.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(db.path.parent.stat().st_mode) == 0o700
    for side_file in db.path.parent.glob("cove.sqlite-*"):
        assert stat.S_IMODE(side_file.stat().st_mode) == 0o600


async def test_settings_of_each_connection(db: Database) -> None:
    def pragmas(connection: sa.Connection) -> tuple[object, ...]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return tuple(connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names)

    assert await db.write(pragmas) == ("wal", 2, 1)
    assert await db.read(pragmas) == ("wal", 2, 1)


async def test_readers_cannot_write(db: Database) -> None:
    with pytest.raises(sa.exc.OperationalError, match="readonly"):
        await db.read(insert(1))


async def test_an_error_undoes_its_own_changes_only(db: Database) -> None:
    started, go = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        started.set()
        assert go.wait(10)

    def fails(connection: sa.Connection) -> None:
        insert(2)(connection)
        raise RuntimeError("no")

    holder = asyncio.create_task(db.write(hold))
    assert await asyncio.to_thread(started.wait, 10)
    # These three wait together, and so share the next transaction.
    tasks = [asyncio.create_task(db.write(fn)) for fn in (insert(1), fails, insert(3))]
    await asyncio.sleep(0)
    before = db.statistics["transactions"]
    go.set()
    await holder
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == 1
    assert isinstance(results[1], RuntimeError)
    assert results[2] == 3
    assert await values(db) == [1, 3]
    assert db.statistics["transactions"] - before == 2  # the holder's, and one for all three


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
    results = await asyncio.gather(*(db.write(insert(x)) for x in (1, 2, 1, 3)), return_exceptions=True)
    assert [isinstance(r, sa.exc.IntegrityError) for r in results] == [True, False, True, False]
    assert await values(db) == [1, 2, 3]


async def test_many_writes_share_transactions(db: Database) -> None:
    before = db.statistics["transactions"]
    await asyncio.gather(*(db.write(insert(x)) for x in range(500)))
    assert await values(db) == list(range(500))
    used = db.statistics["transactions"] - before
    assert 500 / BATCH_MAX <= used < 250


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
    await db.write(
        lambda c: (
            c.exec_driver_sql("CREATE TABLE child (p INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED)") and None
        )
    )

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


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "cove.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(DatabaseError, match=r"cannot open the database .*cove\.sqlite"):
        await Database(f"sqlite:///{path}").start()
