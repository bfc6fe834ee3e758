"""The unit tests of addresses, subnets, subnet pools and address scopes on the other database; and many at once."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cove.network import errors, subnets
from tests.postgres_fixtures import postgres_server  # noqa: F401
from tests.postgres_server import PostgresServer
from tests.unit.network.address_lab import Lab
from tests.unit.network.test_address_scopes import *  # noqa: F403
from tests.unit.network.test_addresses import *  # noqa: F403
from tests.unit.network.test_subnetpool_operations import *  # noqa: F403
from tests.unit.network.test_subnetpools import *  # noqa: F403
from tests.unit.network.test_subnets import *  # noqa: F403
from tests.unit.network.transactions import DATABASE_URL

WORKERS = 8
WAIT_S = 120


@pytest.fixture(autouse=True, scope="module")
def _on_postgresql(postgres_server: PostgresServer) -> Iterator[None]:  # noqa: F811
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE_URL, postgres_server.create_database("addresses"))
        yield
    postgres_server.drop_database("addresses")


def _together(work: Callable[[int], None]) -> None:
    """Run it in several threads, each with connections of its own, that begin at the same moment."""
    start = threading.Barrier(WORKERS)

    def run(number: int) -> None:
        start.wait(WAIT_S)
        work(number)

    with ThreadPoolExecutor(WORKERS) as pool:
        for future in [pool.submit(run, number) for number in range(WORKERS)]:
            future.result(WAIT_S)


def test_many_fill_one_subnet(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    taken: list[str] = []
    refused: list[int] = []

    def work(number: int) -> None:
        for index in range(40):
            mac = f"fa:16:3e:00:{number:02x}:{index:02x}"
            try:
                taken.extend(lab.addresses(network, mac=mac))
            except errors.IpAddressGenerationFailure:
                refused.append(number)

    _together(work)
    assert sorted(taken) == sorted(str(address) for address in list(ipaddress.ip_network("192.0.2.0/24"))[2:255])
    assert len(refused) == WORKERS * 40 - 253
    assert lab.free(subnet["id"]) == []


def test_many_take_and_give_back(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/26")

    def work(number: int) -> None:
        for index in range(20):
            port_id, fixed_ips = lab.port(network, mac=f"fa:16:3e:00:{number:02x}:{index:02x}")
            assert len(fixed_ips) == 1
            lab.release(network, port_id)

    _together(work)
    assert lab.free(subnet["id"]) == [(2, 62)]


def test_many_cut_from_one_pool(lab: Lab) -> None:
    pool = lab.pool(["10.0.0.0/24"], default_prefixlen=28)
    networks = [lab.network() for _ in range(WORKERS)]
    cidrs: list[str] = []
    refused: list[int] = []

    def work(number: int) -> None:
        for _ in range(3):
            try:
                subnet = lab.subnet(networks[number], ip_version=4, subnetpool_id=pool["id"])
            except errors.SubnetAllocationError:
                refused.append(number)
            else:
                cidrs.append(subnet["cidr"])

    _together(work)
    assert sorted(map(ipaddress.ip_network, cidrs)) == list(ipaddress.ip_network("10.0.0.0/24").subnets(new_prefix=28))
    assert len(refused) == WORKERS * 3 - 16


def test_of_many_that_overlap_one_gets_on_the_network(lab: Lab) -> None:
    network = lab.network()
    made: list[str] = []

    def work(number: int) -> None:
        try:
            made.append(lab.subnet(network, f"192.0.2.{16 * number}/24")["id"])
        except errors.InvalidInput:
            pass

    _together(work)
    assert len(made) == 1
    assert lab.show(subnets.RESOURCE, made[0])["cidr"] == "192.0.2.0/24"
