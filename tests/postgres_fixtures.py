"""Fixtures for tests on PostgreSQL: one server a session, one database a test. Import them in a conftest."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator

import pytest

from tests.postgres_server import PostgresServer, available

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server for the whole session; only for tests that leave it running."""
    if not available():
        pytest.skip("PostgreSQL is not installed (package postgresql)")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def empty_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of a new database without tables."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of a new database with the newest schema: a copy of a template, which takes some 30 ms."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield postgres_server.create_database(name, _template(postgres_server))
    postgres_server.drop_database(name)


@functools.lru_cache(maxsize=4)
def _template(server: PostgresServer) -> str:
    from cove.db.backend import backend_of

    backend_of(server.create_database("cove_template")).prepare()
    return "cove_template"
