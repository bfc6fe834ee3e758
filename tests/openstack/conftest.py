"""What the tests with real peers share: PostgreSQL, OpenStack's client libraries, a Cove of its own for each module.

The libraries are installed in an environment of their own (`./run-tests openstack` makes it). They are looked for after
everything else, so that Cove and pytest keep the versions that they are locked to.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres_fixtures import empty_postgres_url, postgres_server, postgres_url
from tests.postgres_server import PostgresServer

from .cloud import PEERS, Cloud

__all__ = ["empty_postgres_url", "postgres_server", "postgres_url"]

sys.path += [str(path) for path in (PEERS / "lib").glob("python3*/site-packages")]

ENGINES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def peers() -> Path:
    """The environment of OpenStack's clients."""
    if not (PEERS / "bin/openstack").exists():
        pytest.skip("OpenStack's clients are not installed: ./run-tests openstack makes .venv-openstack")
    return PEERS


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The database under the API."""
    return str(request.param)


@pytest.fixture(scope="module")
def cloud_settings() -> dict[str, str]:
    """Settings of `engine_cloud`; a module that wants others has a fixture of this name."""
    return {}


@pytest.fixture(scope="module")
def engine_cloud(
    engine: str,
    cloud_settings: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cloud]:
    """A Cove on each engine, for all tests of a module. At its end the server's log must tell of no crash."""
    url, name = "", ""
    if engine == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"cloud_{request.module.__name__.rpartition('.')[2]}"
        url = server.create_database(name)
    with Cloud(tmp_path_factory.mktemp(engine) / "cloud", url, **cloud_settings) as made:
        yield made
    if name:
        server.drop_database(name)
    assert made.errors() == []
