"""The revisions on a real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cove.db.backend import backend_of
from cove.db.migrations import HEAD_REVISION
from tests.postgres_server import PostgresServer

pytest.register_assert_rewrite("tests.unit.db.migration_cases")
from tests.unit.db.migration_cases import *  # noqa: E402, F403

START = """
import asyncio, logging, sys
from cove.db import Database

logging.basicConfig(level=logging.INFO)

async def main():
    database = Database(sys.stdin.readline().strip())
    await database.start()
    await database.close()

asyncio.run(main())
"""


@pytest.fixture
def url(empty_postgres_url: str) -> str:
    return empty_postgres_url


def test_eight_processes_that_start_at_once_on_an_empty_database(url: str, postgres_server: PostgresServer) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(8)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{url}\n".encode())
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert backend_of(url).revision() == HEAD_REVISION
    # Each step was taken by one of them only.
    steps = [line for output in outputs for line in output.splitlines() if "cove.db.upgrade" in line]
    assert len(steps) == int(HEAD_REVISION)


def test_a_current_database_does_not_import_alembic(postgres_url: str) -> None:
    code = START + "\nsys.exit('alembic' in sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code], input=postgres_url, text=True, check=False, timeout=60)
    assert done.returncode == 0


def test_it_knows_who_else_is_there(postgres_url: str) -> None:
    backend = backend_of(postgres_url)
    assert backend.sessions() == 0
    engine = backend.read_engine()
    with engine.connect():
        assert backend.sessions() == 1
    engine.dispose()
