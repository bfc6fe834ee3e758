"""The unit tests of scheduling, tags and the use of addresses on the other database; and several servers at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
import sqlalchemy as sa

from cove.network import failover, scheduler
from cove.network.models import network_dhcp_agent_bindings as bindings
from cove.network.transaction import Transaction
from tests.postgres_server import PostgresServer
from tests.unit.network.bare import ADMIN, CONFIG, NOW, Store
from tests.unit.network.test_ip_availability import *  # noqa: F403
from tests.unit.network.test_scheduler import *  # noqa: F403
from tests.unit.network.test_tags import *  # noqa: F403
from tests.unit.network.transactions import DATABASE_URL

T = TypeVar("T")
SERVERS = 6


@pytest.fixture(autouse=True, scope="module")
def _on_postgresql(postgres_server: PostgresServer) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE_URL, postgres_server.create_database("scheduling"))
        yield
    postgres_server.drop_database("scheduling")


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(postgres_url, pool_size=SERVERS)
    yield made
    made.dispose()


def at_once(engine: sa.Engine, *functions: Callable[[Transaction], T]) -> list[T]:
    """Each function in a transaction and thread of its own; all begin together."""
    barrier = threading.Barrier(len(functions))

    def run(function: Callable[[Transaction], T]) -> T:
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT 1"))
            barrier.wait(10)
            return function(Transaction(connection, ADMIN, CONFIG, now=NOW))

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


def prepared(engine: sa.Engine, agents: int, networks: int) -> list[str]:
    with engine.begin() as connection:
        store = Store(connection)
        for number in range(agents):
            store.agent(f"node{number}")
        return [store.network() for _ in range(networks)]


def bound(engine: sa.Engine) -> list[str]:
    with engine.begin() as connection:
        return sorted(connection.execute(sa.select(bindings.c.network_id)).scalars())


def test_servers_that_schedule_a_network_at_once_give_it_to_one_agent(engine: sa.Engine) -> None:
    (network_id,) = prepared(engine, agents=SERVERS, networks=1)
    answers = at_once(engine, *[lambda tx: scheduler.schedule_network(tx, network_id)] * SERVERS)
    assert sum(len(new) for _, new in answers) == 1
    assert len({tuple(agent.host for agent in hosting) for hosting, _ in answers}) == 1
    assert bound(engine) == [network_id]


def test_agents_that_ask_at_once_share_the_networks(engine: sa.Engine) -> None:
    networks = prepared(engine, agents=SERVERS, networks=40)

    def ask(host: str) -> Callable[[Transaction], list[str]]:
        return lambda tx: scheduler.auto_schedule(tx, host)

    served = at_once(engine, *(ask(f"node{number}") for number in range(SERVERS)))
    assert sorted(network for some in served for network in some) == sorted(networks) == bound(engine)


def test_servers_that_look_at_once_move_a_network_once(engine: sa.Engine) -> None:
    (network_id,) = prepared(engine, agents=2, networks=1)
    with engine.begin() as connection:
        store = Store(connection)
        dead = store.agent("dead", heard_of=NOW - 100)
        scheduler.bind(store.tx(), network_id, dead)
    move = failover.Move(network_id, dead, "dead")
    hosts = at_once(engine, *[lambda tx: failover.carry_out(tx, move)] * SERVERS)
    assert sorted(map(len, hosts)) == [0] * (SERVERS - 1) + [1]
    assert bound(engine) == [network_id]
