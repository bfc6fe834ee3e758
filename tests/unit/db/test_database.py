from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cove.db import Database, DatabaseContention, DatabaseError, UnsupportedDatabase
from cove.db import batching as batching_module
from cove.db import sqlite as sqlite_module

pytest.register_assert_rewrite("tests.unit.db.cases")
from tests.unit.db.cases import *  # noqa: E402, F403
from tests.unit.db.cases import insert, values  # noqa: E402


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/state/cove.sqlite")
    await database.start()
    await database.write(lambda c: c.exec_driver_sql("CREATE TABLE t (x INTEGER PRIMARY KEY)") and None)
    yield database
    await database.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:secret@h", "name the database"),
        ("postgresql+asyncpg://u:secret@h/db", r"postgresql\+asyncpg:// is not supported"),
        ("mysql://u:secret@h/db", "not supported"),
        ("sqlite://", "use sqlite:////path"),
        ("sqlite:///:memory:", "use sqlite:////path"),
        ("nonsense", "not a URL"),
        ("u:secret@h/db", "not a URL"),
    ],
)
def test_urls_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(UnsupportedDatabase, match=says) as caught:
        Database(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("postgresql://u:secret@h/db", "postgresql://u:***@h/db"),
        ("postgresql+psycopg://u:secret@h:1/db", "postgresql://u:***@h:1/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=%2Frun%2Fpostgresql"),
        ("postgresql://h/db?user=u&password=secret&sslmode=require", "postgresql://h/db?sslmode=require&user=u"),
    ],
)
def test_urls_of_postgresql_show_no_password(url: str, label: str) -> None:
    assert Database(url).label == label


async def test_a_server_that_is_not_there() -> None:
    database = Database("postgresql://u:secret@127.0.0.1:1/db")
    with pytest.raises(
        DatabaseError, match=r"cannot open the database postgresql://u:\*\*\*@127.0.0.1:1/db: .*refused"
    ):
        await database.start()


def test_psycopg_is_imported_where_it_is_needed_only() -> None:
    import subprocess
    import sys

    code = "import sys; from cove.db import Database; Database('sqlite:////x/y'); sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


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


async def test_errors_do_not_quote_what_is_stored(db: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught:
        await db.write(lambda c: c.execute(sa.text("INSERT INTO t VALUES (:x), (:x)"), {"x": 424242}) and None)
    assert "424242" not in str(caught.value)


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "cove.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(DatabaseError, match=r"cannot open the database .*cove\.sqlite"):
        await Database(f"sqlite:///{path}").start()


async def test_a_lock_that_another_process_keeps(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching_module, "ATTEMPTS_MAX", 2)
    await db.write(lambda c: c.exec_driver_sql("PRAGMA busy_timeout=20") and None)
    other = sqlite3.connect(db.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseContention):
        await db.write(insert(1))
    monkeypatch.undo()
    task = asyncio.create_task(db.write(insert(2)))
    await asyncio.sleep(0.05)
    other.execute("ROLLBACK")
    other.close()
    assert await task == 2
    assert await values(db) == [2]


def _fill(url: str, first: int, count: int) -> None:
    async def run() -> None:
        database = Database(url)
        await database.start()
        await asyncio.gather(*(database.write(insert(x)) for x in range(first, first + count)))
        await database.close()

    asyncio.run(run())


async def test_several_processes_on_one_file(db: Database) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(f"sqlite:///{db.path}", 1000 * i, 200)) for i in range(3)]
    for process in processes:
        process.start()
    await asyncio.gather(*(db.write(insert(x)) for x in range(5000, 5200)))
    for process in processes:
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode == 0
    assert len(await values(db)) == 800
    assert sqlite_module.BUSY_TIMEOUT_MS >= 1000
