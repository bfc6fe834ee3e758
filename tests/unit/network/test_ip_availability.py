"""How many addresses there are and how many are used, for many networks at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from cove.network import errors, ip_availability, ipam
from cove.network.context import RequestContext
from cove.network.ip_availability import Query, total_ips
from cove.network.models import networks, subnets
from cove.network.tables.views import DETAILS, DETAILS_COUNTED
from tests.unit.network.bare import Store, bare_store

TOTALS: list[tuple[str, Sequence[tuple[str, str]], int]] = [
    ("192.0.2.0/24", [("192.0.2.2", "192.0.2.254")], 253),
    ("192.0.2.0/24", [("192.0.2.2", "192.0.2.3"), ("192.0.2.9", "192.0.2.9")], 3),
    ("192.0.2.0/24", [], 256),
    ("192.0.2.0/32", [], 1),
    ("2001:db8::/64", [("2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff")], 2**64 - 2),
    ("2001:db8::/32", [], 2**96),
]


@pytest.mark.parametrize(("cidr", "pools", "expected"), TOTALS)
def test_total_ips(cidr: str, pools: Sequence[tuple[str, str]], expected: int) -> None:
    assert total_ips(cidr, [{"start": start, "end": end} for start, end in pools]) == expected


@pytest.fixture
def store() -> Iterator[Store]:
    with bare_store() as made:
        yield made


@pytest.fixture
def ids(store: Store) -> list[str]:
    """A network with both versions and two addresses used, one with IPv4 only, one without subnets; sorted by id."""
    names = ("00", "11", "22")
    made = [f"{name}000000-0000-4000-8000-000000000000" for name in names]
    for network_id, name in zip(made, names, strict=True):
        store.insert(networks, id=network_id, name=name, project_id=f"project-{name}")
    v4 = store.subnet(
        made[0], "192.0.2.0/24", name="four", allocation_pools=[{"start": "192.0.2.2", "end": "192.0.2.9"}]
    )
    v6 = store.subnet(made[0], "2001:db8::/56", name="six", created_ns=2)
    store.port(made[0], (v4, "192.0.2.2"), (v6, "2001:db8::2"))
    store.port(made[0], (v4, "192.0.2.100"))
    store.subnet(made[1], "198.51.100.0/28")
    return made


def test_counts(store: Store, ids: list[str]) -> None:
    both, four, none = ip_availability.find(store.reading(), Query())
    assert both == ip_availability.get(store.reading(), ids[0])
    both.pop(DETAILS)
    for part in both["subnet_ip_availability"]:
        part.pop("subnet_id")
        part.pop(DETAILS)
    assert both == {
        "network_id": ids[0],
        "network_name": "00",
        "project_id": "project-00",
        "tenant_id": "project-00",
        "subnet_ip_availability": [
            {"ip_version": 4, "cidr": "192.0.2.0/24", "subnet_name": "four", "used_ips": 2, "total_ips": 8},
            {"ip_version": 6, "cidr": "2001:db8::/56", "subnet_name": "six", "used_ips": 1, "total_ips": 2**72},
        ],
        "used_ips": 3,
        "total_ips": 2**72 + 8,
    }
    assert (four["used_ips"], four["total_ips"]) == (0, 16)
    assert (none["used_ips"], none["total_ips"], none["subnet_ip_availability"]) == (0, 0, [])


QUERIES: list[tuple[Query, list[tuple[int, int]]]] = [
    # → (which network, its addresses in use)
    (Query(), [(0, 3), (1, 0), (2, 0)]),
    (Query({"ip_version": [4]}), [(0, 2), (1, 0)]),
    (Query({"ip_version": [6]}), [(0, 1)]),
    (Query({"ip_version": [4, 6]}), [(0, 3), (1, 0)]),
    (Query({"ip_version": ["5"]}), []),
    (Query({"network_name": ["11", "22"]}), [(1, 0), (2, 0)]),
    (Query({"network_name": ["11"], "project_id": ["project-22"]}), []),
    (Query({"tenant_id": ["project-22"]}), [(2, 0)]),
    (Query({"network_id": ["a\x00b"]}), []),
    (Query(limit=2), [(0, 3), (1, 0)]),
    (Query(descending=True, limit=2), [(2, 0), (1, 0)]),
    (Query(marker="00000000-0000-4000-8000-000000000000"), [(1, 0), (2, 0)]),
    (Query(marker="22000000-0000-4000-8000-000000000000", descending=True), [(1, 0), (0, 3)]),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_queries(store: Store, ids: list[str], query: Query, expected: list[tuple[int, int]]) -> None:
    found = ip_availability.find(store.reading(), query)
    assert [(ids.index(item["network_id"]), item["used_ips"]) for item in found] == expected


def test_an_unknown_network(store: Store, ids: list[str]) -> None:
    for unknown in ("33000000-0000-4000-8000-000000000000", "a\x00b", ""):
        with pytest.raises(errors.NetworkNotFound):
            ip_availability.get(store.reading(), unknown)


@pytest.mark.usefixtures("ids")
def test_it_is_not_for_members(store: Store) -> None:
    member = RequestContext(project_id="project-00", is_admin=False, roles=frozenset({"member", "reader"}))
    assert ip_availability.find(store.reading(member), Query()) == []


def test_the_number_of_statements_does_not_grow(store: Store) -> None:
    counted: list[Any] = []
    sa.event.listen(store.connection, "before_cursor_execute", lambda *args: counted.append(args[2]))
    spent = []
    for _ in range(2):
        for _ in range(3):
            network_id = store.network()
            store.subnet(network_id, "2001:db8::/64")
        counted.clear()
        ip_availability.find(store.reading(), Query())
        spent.append(len(counted))
    assert spent[0] == spent[1] == 4


def test_details(store: Store) -> None:
    network_id = store.network(dhcp=False)
    (first,) = store.connection.execute(sa.select(subnets.c.id)).scalars()
    store.connection.execute(sa.delete(subnets).where(subnets.c.id == first))
    assert ip_availability.get(store.reading(), network_id)[DETAILS] == dict.fromkeys(DETAILS_COUNTED, 0)

    pools = [{"start": "192.0.2.2", "end": "192.0.2.5"}, {"start": "192.0.2.9", "end": "192.0.2.9"}]
    four = store.subnet(network_id, "192.0.2.0/24", allocation_pools=pools)
    ipam.add_ranges(store.connection, four, [(3, 5), (9, 9)])
    # The free ranges know of 2001:db8::1:0:0:0, and not of what hosts made of their MAC addresses.
    pools = [{"start": "2001:db8::1:0:0:0", "end": "2001:db8::ffff:ffff:ffff:ffff"}]
    six = store.subnet(network_id, "2001:db8::/64", allocation_pools=pools, ipv6_address_mode="slaac", created_ns=2)
    ipam.add_ranges(store.connection, six, [(2**48 + 1, 2**64 - 1)])
    store.port(network_id, (four, "192.0.2.2"), (six, "2001:db8::1:0:0:0"))
    store.port(network_id, (four, "192.0.2.100"), (six, "2001:db8::f816:3eff:fe00:1"))
    store.port(network_id, (six, "2001:db8::ff:fe00:1"))
    pools = [{"start": "198.51.100.1", "end": "198.51.100.1"}]
    ipam.add_ranges(
        store.connection,
        store.subnet(network_id, "198.51.100.0/31", allocation_pools=pools, created_ns=3),
        [(1, 1)],
    )

    found = ip_availability.get(store.reading(), network_id)
    each = [tuple(part[DETAILS][name] for name in DETAILS_COUNTED) for part in found["subnet_ip_availability"]]
    assert each == [(254, 5, 2, 1), (2**64, 2**64 - 2**48, 3, 2), (2, 1, 0, 0)]
    assert [found[DETAILS][name] for name in DETAILS_COUNTED] == [sum(numbers) for numbers in zip(*each, strict=True)]
