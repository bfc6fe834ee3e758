"""`Database` on a real PostgreSQL: what it promises on every engine, and what only a server can do to it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import sqlalchemy as sa

from cove.db import (
    Database,
    DatabaseBusy,
    DatabaseContention,
    DatabaseError,
    DatabaseUnavailable,
    OutcomeUnknown,
    batching,
    locks,
)
from cove.db import database as database_module
from cove.db.locks import lock
from tests.postgres_server import PASSWORD, PostgresServer

pytest.register_assert_rewrite("tests.unit.db.cases")
from tests.unit.db.cases import *  # noqa: E402, F403
from tests.unit.db.cases import Fn, Holder, insert, together, values  # noqa: E402


async def opened(url: str) -> Database:
    database = Database(url)
    await database.start()
    return database


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Database]:
    database = await opened(postgres_url)
    await database.write(lambda c: c.exec_driver_sql("CREATE TABLE t (x INTEGER PRIMARY KEY)") and None)
    yield database
    await database.close()


@pytest.fixture
async def other(db: Database, postgres_url: str) -> AsyncIterator[Database]:
    """What another server process would have: a Database of its own on the same URL."""
    database = await opened(postgres_url)
    yield database
    await database.close()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    with PostgresServer() as server:
        yield server


async def test_settings_of_each_connection(db: Database) -> None:
    names = (
        "transaction_isolation", "transaction_read_only", "synchronous_commit", "lock_timeout", "statement_timeout",
        "idle_in_transaction_session_timeout", "timezone", "application_name",
    )  # fmt: skip

    def settings(connection: sa.Connection) -> list[object]:
        return [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]

    same = ["on", "5s", "30s", "30s", "UTC", "cove"]
    assert await db.write(settings) == ["read committed", "off", *same]
    assert await db.read(settings) == ["repeatable read", "on", *same]


async def test_by_socket_and_by_sqlalchemys_name(postgres_server: PostgresServer, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    for url in (postgres_server.url(name, by_socket=True), postgres_url.replace("postgresql:", "postgresql+psycopg:")):
        database = await opened(url)
        assert await database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM networks").scalar()) == 0
        await database.close()


async def test_options_of_the_url_win(postgres_url: str) -> None:
    database = await opened(f"{postgres_url}?options=-c%20lock_timeout%3D2s&application_name=mine")
    found = await database.write(
        lambda c: [c.exec_driver_sql(f"SHOW {n}").scalar() for n in ("lock_timeout", "application_name", "jit")]
    )
    assert found == ["2s", "mine", "off"]
    await database.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda url: url.replace("cove:", "cove:not-"), "password authentication failed"),
        (lambda url: f"{url}_missing", "does not exist"),
    ],
)
async def test_what_is_wrong_with_the_url_is_said_without_its_password(
    postgres_url: str, change: Callable[[str], str], says: str
) -> None:
    with pytest.raises(DatabaseError, match=says) as caught:
        await Database(change(postgres_url)).start()
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSWORD not in str(error)
        assert "s3cret" not in str(error)
        error = error.__cause__


async def test_a_database_in_another_encoding_is_refused(postgres_server: PostgresServer) -> None:
    postgres_server.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' OWNER cove")
    with pytest.raises(DatabaseError, match="LATIN1"):
        await Database(postgres_server.url("latin")).start()
    postgres_server.drop_database("latin")


async def test_errors_do_not_quote_what_is_stored(db: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        await db.write(lambda c: c.execute(sa.text("INSERT INTO t VALUES (:x)"), {"x": "secret words"}) and None)
    assert "[SQL parameters hidden" in str(caught.value)


# --- other transactions ----------------------------------------------------------------------------------------------


async def test_a_real_deadlock_is_solved_by_running_again(db: Database, other: Database) -> None:
    await db.write(lambda c: c.exec_driver_sql("INSERT INTO t VALUES (1), (2)") and None)
    barrier = threading.Barrier(2)
    runs = {"a": 0, "b": 0}

    def crossing(name: str, first: int, second: int) -> Callable[[sa.Connection], str]:
        def fn(connection: sa.Connection) -> str:
            runs[name] += 1
            connection.execute(sa.text("UPDATE t SET x = x WHERE x = :x"), {"x": first})
            if runs[name] == 1:
                barrier.wait(20)
            connection.execute(sa.text("UPDATE t SET x = x WHERE x = :x"), {"x": second})
            return name

        return fn

    results = await asyncio.gather(db.write(crossing("a", 1, 2)), other.write(crossing("b", 2, 1)))
    assert list(results) == ["a", "b"]
    assert sum(runs.values()) == 3
    assert db.statistics["conflicts"] + other.statistics["conflicts"] == 1


async def test_a_row_that_stays_locked(db: Database, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "ATTEMPTS_MAX", 2)
    quick = await opened(f"{postgres_url}?options=-c%20lock_timeout%3D50ms")
    await db.write(insert(1))
    holder = Holder()

    def holds(connection: sa.Connection) -> None:
        connection.exec_driver_sql("UPDATE t SET x = x")
        holder(connection)

    holding = asyncio.create_task(db.write(holds))
    assert await asyncio.to_thread(holder.started.wait, 20)
    with pytest.raises(DatabaseContention, match="2 times"):
        await quick.write(lambda c: c.exec_driver_sql("UPDATE t SET x = x") and None)
    assert await quick.write(insert(2)) == 2  # what is not locked goes on
    holder.go.set()
    await holding
    await quick.close()


async def test_a_statement_that_takes_too_long_hurts_only_itself(db: Database, postgres_url: str) -> None:
    quick = await opened(f"{postgres_url}?options=-c%20statement_timeout%3D100ms")
    results = await together(quick, insert(1), lambda c: c.exec_driver_sql("SELECT pg_sleep(5)") and None, insert(2))
    assert results[0] == 1
    assert isinstance(results[1], DatabaseBusy)
    assert results[2] == 2
    assert await values(quick) == [1, 2]
    with pytest.raises(DatabaseBusy, match="too long"):
        await quick.read(lambda c: c.exec_driver_sql("SELECT pg_sleep(5)") and None)
    await quick.close()


def locked(x: int, *names: str) -> Fn:
    def fn(connection: sa.Connection) -> int:
        for name in names:
            lock(connection, "network", name)
        return insert(x)(connection)

    return fn


async def test_a_lock_is_held_until_the_commit(db: Database, other: Database) -> None:
    holder = Holder()

    def holds(connection: sa.Connection) -> None:
        lock(connection, "network", "a")
        insert(1)(connection)
        holder(connection)

    holding = asyncio.create_task(db.write(holds))
    assert await asyncio.to_thread(holder.started.wait, 20)

    def sees(connection: sa.Connection) -> int:
        lock(connection, "network", "a")
        return int(connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one())

    waiting = asyncio.create_task(other.write(sees))
    assert await db.read(_is_waited_for)
    holder.go.set()
    await holding
    assert await waiting == 1


def _is_waited_for(connection: sa.Connection) -> bool:
    """Wait until somebody waits for a lock."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar():
            return True
        time.sleep(0.01)
    return False


async def test_a_lock_that_is_anothers_holds_up_nobody_else(db: Database, other: Database) -> None:
    holder = Holder()

    def holds(connection: sa.Connection) -> None:
        lock(connection, "network", "a")
        holder(connection)

    holding = asyncio.create_task(db.write(holds))
    assert await asyncio.to_thread(holder.started.wait, 20)
    gate = Holder()
    gating = asyncio.create_task(other.write(gate))
    assert await asyncio.to_thread(gate.started.wait, 20)
    # These share a transaction: the second wants what is taken, and must not keep the others.
    tasks = [asyncio.create_task(other.write(fn)) for fn in (locked(1, "b"), locked(2, "a"), locked(3, "c"))]
    await asyncio.sleep(0)
    gate.go.set()
    await gating
    assert list(await asyncio.gather(tasks[0], tasks[2])) == [1, 3]
    assert not tasks[1].done()
    holder.go.set()
    await holding
    assert await tasks[1] == 2
    assert other.statistics["conflicts"] == 0


async def test_locks_in_any_order_end_in_no_deadlock(db: Database, other: Database) -> None:
    names = "abcd"

    async def hammer(database: Database, base: int) -> None:
        await asyncio.gather(
            *(
                database.write(locked(base + i, *(names[(i + k * (1 + i % 3)) % 4] for k in range(3))))
                for i in range(120)
            )
        )

    async with asyncio.timeout(60):
        await asyncio.gather(hammer(db, 0), hammer(other, 1000))
    assert len(await values(db)) == 240
    assert db.statistics["conflicts"] == other.statistics["conflicts"] == 0


async def test_a_lock_taken_by_a_function_that_failed_is_free_again(db: Database, other: Database) -> None:
    def fails(connection: sa.Connection) -> None:
        lock(connection, "network", "a")
        raise RuntimeError("no")

    holder = Holder()
    first = Holder()
    firsting = asyncio.create_task(db.write(first))
    assert await asyncio.to_thread(first.started.wait, 20)
    failing = asyncio.create_task(db.write(fails))
    holding = asyncio.create_task(db.write(holder))  # in one transaction with the one that fails, and after it
    again = asyncio.create_task(db.write(locked(1, "a")))
    await asyncio.sleep(0)
    first.go.set()
    await firsting
    assert await asyncio.to_thread(holder.started.wait, 20)
    assert await asyncio.wait_for(other.write(locked(2, "a")), 5) == 2
    holder.go.set()
    await asyncio.gather(holding, again)
    with pytest.raises(RuntimeError):
        await failing
    assert await values(db) == [1, 2]


def test_names_of_locks_are_kept_apart() -> None:
    numbers = {locks.lock_number(kind, key) for kind in ("network", "project", "n") for key in ("a", "b", "etworka")}
    assert len(numbers) == 9
    assert all(-(2**63) <= number < 2**63 for number in numbers)


# --- a server that goes away -----------------------------------------------------------------------------------------


async def test_a_restart_in_the_middle_of_load_loses_nothing(own_server: PostgresServer) -> None:
    database = await opened(own_server.create_database("load"))
    await database.write(lambda c: c.exec_driver_sql("CREATE TABLE t (x INTEGER PRIMARY KEY)") and None)
    acknowledged: set[int] = set()
    uncertain: set[int] = set()
    refused = 0
    stop = asyncio.Event()
    numbers = iter(range(10**9))

    async def writer() -> None:
        nonlocal refused
        while not stop.is_set():
            x = next(numbers)
            try:
                acknowledged.add(await database.write(insert(x)))
            except OutcomeUnknown:
                uncertain.add(x)
            except DatabaseBusy:
                refused += 1
                await asyncio.sleep(0.01)

    async def reader() -> None:
        while not stop.is_set():
            with contextlib.suppress(DatabaseBusy):
                await database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM t").scalar())
            await asyncio.sleep(0.002)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(writer())
        group.create_task(reader())
        for how in ("fast", "immediate", "fast"):
            enough = len(acknowledged) + 50
            async with asyncio.timeout(30):
                while len(acknowledged) < enough:
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(own_server.restart, how)
        enough = len(acknowledged) + 50
        async with asyncio.timeout(30):
            while len(acknowledged) < enough:
                await asyncio.sleep(0.01)
        stop.set()
    stored = set(await values(database))
    assert acknowledged <= stored <= acknowledged | uncertain
    await database.close()


async def test_while_it_is_away_requests_are_refused_in_bounded_time(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.db.outage.PATIENCE_S", 0.5)
    database = await opened(own_server.create_database("away"))
    own_server.stop()
    began = time.monotonic()
    results = await asyncio.gather(
        *(database.write(insert(x)) for x in range(300)),
        *(database.read(lambda c: c.exec_driver_sql("SELECT 1").scalar()) for _ in range(300)),
        return_exceptions=True,
    )
    assert all(isinstance(result, DatabaseUnavailable) for result in results)
    assert PASSWORD not in str(results[0])
    assert time.monotonic() - began < 10
    own_server.start()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await database.read(lambda c: c.exec_driver_sql("SELECT 1").scalar()) == 1
                await database.write(lambda c: c.exec_driver_sql("CREATE TABLE t (x INTEGER PRIMARY KEY)") and None)
                break
            except DatabaseUnavailable:
                await asyncio.sleep(0.05)
    await database.close()


def _cut(connection: sa.Connection) -> None:
    """Break a connection as a network does: no word, and the server learns of it later."""
    driver = connection.connection.driver_connection
    assert driver is not None
    Database("postgresql:///x")._backend.abort(driver)


async def test_a_connection_that_breaks_before_the_commit_is_run_again(db: Database) -> None:
    runs = 0

    def fn(connection: sa.Connection) -> int:
        nonlocal runs
        runs += 1
        insert(1)(connection)
        if runs == 1:
            _cut(connection)
        return insert(2)(connection)

    assert await together(db, insert(7), fn, insert(8)) == [7, 2, 8]
    assert runs == 2
    assert await values(db) == [1, 2, 7, 8]


async def test_a_connection_that_always_breaks_is_given_up(db: Database) -> None:
    def fn(connection: sa.Connection) -> None:
        insert(1)(connection)
        _cut(connection)
        insert(2)(connection)

    with pytest.raises(DatabaseUnavailable):
        await db.write(fn)
    assert await db.write(insert(3)) == 3
    assert await values(db) == [3]


async def test_a_connection_that_breaks_during_the_commit(db: Database) -> None:
    runs = 0
    seen: list[int] = []

    def fn(connection: sa.Connection) -> int:
        nonlocal runs
        runs += 1
        insert(1)(connection)
        _cut(connection)  # the next word to the server is COMMIT
        return 1

    with pytest.raises(OutcomeUnknown, match="may have been made, or not"):
        await db.write(fn, after_commit=seen.append)
    assert runs == 1
    assert seen == []
    assert await db.write(insert(2)) == 2


async def test_a_read_whose_connection_breaks_is_run_again(db: Database) -> None:
    await db.write(insert(1))
    runs = 0

    def fn(connection: sa.Connection) -> object:
        nonlocal runs
        runs += 1
        if runs == 1:
            _cut(connection)
        return connection.exec_driver_sql("SELECT count(*) FROM t").scalar()

    assert await db.read(fn) == 1
    assert runs == 2


async def test_a_server_that_says_nothing_any_more(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "TRANSACTION_S_MAX", 0.3)
    monkeypatch.setattr(database_module, "WATCH_INTERVAL_S", 0.1)
    sleeping = "SELECT pg_sleep(20)"
    with pytest.raises(DatabaseUnavailable):
        await asyncio.wait_for(db.write(lambda c: c.exec_driver_sql(sleeping) and None), 15)
    with pytest.raises(DatabaseUnavailable):
        await asyncio.wait_for(db.read(lambda c: c.exec_driver_sql(sleeping) and None), 15)


# --- news --------------------------------------------------------------------------------------------------------


async def test_one_process_wakes_another(db: Database, other: Database, postgres_server: PostgresServer) -> None:
    heard = asyncio.Event()
    other.listen("cove_test", heard.set)
    async with asyncio.timeout(20):
        await heard.wait()  # that it listens now is news, too
        for _ in range(2):
            heard.clear()
            await db.notify("cove_test")
            await heard.wait()
        heard.clear()
        postgres_server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN %cove_test%' AND pid <> pg_backend_pid()"
        )
        await heard.wait()  # what came while it was away is not known: it looks again
        heard.clear()
        await db.notify("cove_test")
        await heard.wait()
