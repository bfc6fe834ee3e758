"""The unit tests of quotas, on the other database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres_fixtures import postgres_server  # noqa: F401
from tests.postgres_server import PostgresServer
from tests.unit.network.test_quotas import *  # noqa: F403
from tests.unit.network.transactions import DATABASE_URL


@pytest.fixture(autouse=True, scope="module")
def _on_postgresql(postgres_server: PostgresServer) -> Iterator[None]:  # noqa: F811
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE_URL, postgres_server.create_database("quotas"))
        yield
    postgres_server.drop_database("quotas")
