from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cove.network import errors, ipam
from cove.network.models import subnet_free_ranges
from tests.unit.network.address_lab import engine_in_memory

NET = ipam.network_of("192.0.2.0/28")
NET6 = ipam.network_of("2001:db8::/64")
LAST6 = (1 << 64) - 1


def pool(start: int, end: int, network: ipam.IPNetwork = NET) -> dict[str, str]:
    return {"start": ipam.address_at(network, start), "end": ipam.address_at(network, end)}


@pytest.mark.parametrize(
    ("cidr", "expected"),
    [
        ("192.0.2.0/24", (1, 254)),
        ("192.0.2.0/30", (1, 2)),
        ("192.0.2.0/31", (0, 1)),
        ("192.0.2.4/32", (0, 0)),
        ("2001:db8::/64", (1, LAST6)),
        ("2001:db8::/48", (1, (1 << 80) - 1)),
        ("2001:db8::/127", (1, 1)),
        ("2001:db8::5/128", (0, 0)),
    ],
)
def test_host_range(cidr: str, expected: tuple[int, int]) -> None:
    assert ipam.host_range(ipam.network_of(cidr)) == expected


@pytest.mark.parametrize(
    ("network", "address", "owner", "expected"),
    [
        (NET, "192.0.2.0", "", False),
        (NET, "192.0.2.1", "", True),
        (NET, "192.0.2.14", "", True),
        (NET, "192.0.2.15", "", False),
        (NET, "192.0.2.16", "", False),
        (NET, "192.0.2.0", "network:router_gateway", False),
        (NET, "2001:db8::1", "", False),
        (NET6, "192.0.2.1", "", False),
        (NET6, "2001:db8::1", "compute:nova", True),
        (NET6, "2001:db8::ffff:ffff:ffff:ffff", "compute:nova", True),
        (NET6, "2001:db8:0:1::", "compute:nova", False),
        (NET6, "2001:db8::", "compute:nova", False),
        (NET6, "2001:db8::", "", True),
        (NET6, "2001:db8::", "network:router_interface", True),
    ],
)
def test_is_host_address(network: ipam.IPNetwork, address: str, owner: str, expected: bool) -> None:
    assert ipam.is_host_address(network, address, owner) is expected


@pytest.mark.parametrize(
    ("cidr", "gateway", "pools"),
    [
        ("192.0.2.0/28", "192.0.2.1", [("192.0.2.2", "192.0.2.14")]),
        ("192.0.2.0/30", "192.0.2.1", [("192.0.2.2", "192.0.2.2")]),
        ("192.0.2.0/31", "192.0.2.0", [("192.0.2.1", "192.0.2.1")]),
        ("192.0.2.4/32", "192.0.2.5", [("192.0.2.4", "192.0.2.4")]),
        ("2001:db8::/64", "2001:db8::", [("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")]),
        ("2001:db8::/126", "2001:db8::", [("2001:db8::1", "2001:db8::3")]),
        ("2001:db8::/127", "2001:db8::", [("2001:db8::1", "2001:db8::1")]),
        ("2001:db8::5/128", "2001:db8::5", [("2001:db8::5", "2001:db8::5")]),
    ],
)
def test_a_subnet_that_names_neither_gateway_nor_pools(cidr: str, gateway: str, pools: list[tuple[str, str]]) -> None:
    network = ipam.network_of(cidr)
    assert ipam.default_gateway(network) == gateway
    ipam.check_gateway(network, gateway, ())
    assert ipam.default_pools(network, gateway) == [{"start": start, "end": end} for start, end in pools]


@pytest.mark.parametrize(
    ("network", "gateway", "expected"),
    [
        (NET, "192.0.2.1", [pool(2, 14)]),
        (NET, "192.0.2.14", [pool(1, 13)]),
        (NET, "192.0.2.7", [pool(1, 6), pool(8, 14)]),
        (NET, None, [pool(1, 14)]),
        (NET, "198.51.100.1", [pool(1, 14)]),
        (NET6, "2001:db8::1", [pool(2, LAST6, NET6)]),
        (NET6, "2001:db8::5", [pool(1, 4, NET6), pool(6, LAST6, NET6)]),
        (NET6, "fe80::1", [pool(1, LAST6, NET6)]),
        (NET6, None, [pool(1, LAST6, NET6)]),
    ],
)
def test_default_pools(network: ipam.IPNetwork, gateway: str | None, expected: list[dict[str, str]]) -> None:
    assert ipam.default_pools(network, gateway) == expected


POOL_ERRORS: list[tuple[ipam.IPNetwork, list[dict[str, str]], type[errors.NetworkingError]]] = [
    (NET, [pool(5, 4)], errors.InvalidAllocationPool),
    (NET, [pool(1, 4, NET6)], errors.InvalidAllocationPool),
    (NET, [{"start": "192.0.2.1", "end": "2001:db8::5"}], errors.InvalidAllocationPool),
    (NET, [pool(0, 4)], errors.OutOfBoundsAllocationPool),
    (NET, [pool(4, 15)], errors.OutOfBoundsAllocationPool),
    (NET, [pool(16, 17)], errors.OutOfBoundsAllocationPool),
    (NET, [pool(-3, 4)], errors.OutOfBoundsAllocationPool),
    (NET, [pool(1, 4), pool(4, 6)], errors.OverlappingAllocationPools),
    (NET, [pool(8, 9), pool(1, 14)], errors.OverlappingAllocationPools),
    (NET6, [pool(0, 4, NET6)], errors.OutOfBoundsAllocationPool),
    (NET6, [pool(9, LAST6 + 1, NET6)], errors.OutOfBoundsAllocationPool),
    (NET6, [pool(1, 1 << 50, NET6), pool(1 << 50, LAST6, NET6)], errors.OverlappingAllocationPools),
]


@pytest.mark.parametrize(("network", "pools", "error"), POOL_ERRORS)
def test_pool_errors(network: ipam.IPNetwork, pools: list[dict[str, str]], error: type[Exception]) -> None:
    with pytest.raises(error):
        ipam.check_pools(network, pools)


def test_pools_may_touch() -> None:
    pools = [pool(5, 8), pool(1, 4)]
    ipam.check_pools(NET, pools)
    assert ipam.pool_ranges(NET, pools) == [(1, 8)]
    assert ipam.pool_size(NET, pools) == 8
    assert ipam.pool_size(NET6, [pool(1, LAST6, NET6)]) == LAST6


@pytest.mark.parametrize(
    ("network", "gateway", "error"),
    [
        (NET, "192.0.2.0", errors.InvalidInput),
        (NET, "192.0.2.15", errors.InvalidInput),
        (NET, "2001:db8::1", errors.InvalidInput),
        (NET6, "192.0.2.1", errors.InvalidInput),
        (NET, "192.0.2.4", errors.GatewayConflictWithAllocationPools),
        (NET6, "2001:db8::4", errors.GatewayConflictWithAllocationPools),
    ],
)
def test_gateway_errors(network: ipam.IPNetwork, gateway: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ipam.check_gateway(network, gateway, [pool(4, 6, network)])


@pytest.mark.parametrize(
    ("network", "gateway"),
    [
        (NET, None),
        (NET, "192.0.2.3"),
        (NET, "192.0.2.7"),
        (NET, "198.51.100.1"),
        (NET6, "fe80::1"),
        (NET6, "2001:db8::"),
    ],
)
def test_good_gateways(network: ipam.IPNetwork, gateway: str | None) -> None:
    ipam.check_gateway(network, gateway, [pool(4, 6, network)])


def members(ranges: list[ipam.Range]) -> set[int]:
    return {offset for first, last in ranges for offset in range(first, last + 1)}


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)).map(lambda t: (t[0], t[0] + t[1]))),
    st.lists(st.integers(0, 70)),
)
def test_subtract_is_set_difference(ranges: list[ipam.Range], taken: list[int]) -> None:
    disjoint: list[ipam.Range] = []
    for first, last in sorted(ranges):
        if not disjoint or disjoint[-1][1] < first:
            disjoint.append((first, last))
    result = ipam.subtract(disjoint, taken)
    assert members(result) == members(disjoint) - set(taken)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(result))


# --- the table against a set -----------------------------------------------------------------------------------------

SIZE = 40
SUBNET = "s"
BASES = (0, 1 << 31, (1 << 64) - 20, (1 << 128) - 64)
"""Where the offsets begin: an IPv4 subnet's, and those that need all digits of an IPv6 one's."""


def _engine() -> sa.Engine:
    """The table alone, without the subnets that it belongs to."""
    engine = engine_in_memory()
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    return engine


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    made = _engine()
    yield made
    made.dispose()


class FreeRanges(RuleBasedStateMachine):
    """take_next, take and release against a plain set of free offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = _engine()
        self.connection = self.engine.connect()
        self.base = 0
        self.pools: list[ipam.Range] = []
        self.free: set[int] = set()
        self.taken: set[int] = set()

    @initialize(
        base=st.sampled_from(BASES), starts=st.lists(st.integers(0, SIZE), max_size=4, unique=True), data=st.data()
    )
    def make(self, base: int, starts: list[int], data: Any) -> None:
        self.base = base
        position = 0
        for start in sorted(starts):
            if start >= position:
                last = data.draw(st.integers(start, min(SIZE, start + 12)))
                self.pools.append((base + start, base + last))
                position = last + 2
        self.free = members(self.pools)
        # Another subnet's ranges must never be touched.
        ipam.replace_ranges(self.connection, "other", [(base, base + SIZE)])
        ipam.replace_ranges(self.connection, SUBNET, self.pools)

    @rule()
    def take_next(self) -> None:
        offset = ipam.take_next(self.connection, SUBNET)
        assert offset == (min(self.free) if self.free else None)
        if offset is not None:
            self.free.remove(offset)
            self.taken.add(offset)

    @rule(offset=st.integers(0, SIZE + 3))
    def take(self, offset: int) -> None:
        """A requested address: it may lie outside the pools, or be taken."""
        offset += self.base
        assert ipam.take(self.connection, SUBNET, offset) is (offset in self.free)
        if offset in self.free:
            self.free.remove(offset)
            self.taken.add(offset)
        elif offset not in members(self.pools):
            self.taken.add(offset)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        offset = data.draw(st.sampled_from(sorted(self.taken)))
        ipam.release(self.connection, SUBNET, offset, self.pools)
        self.taken.remove(offset)
        if offset in members(self.pools):
            self.free.add(offset)

    @precondition(lambda self: self.free)
    @rule(data=st.data())
    def release_of_a_free_one_is_a_mistake(self, data: Any) -> None:
        offset = data.draw(st.sampled_from(sorted(self.free)))
        with pytest.raises(AssertionError):
            ipam.release(self.connection, SUBNET, offset, self.pools)

    @invariant()
    def the_table_is_the_set(self) -> None:
        if not hasattr(self, "connection"):
            return
        table = subnet_free_ranges
        rows = self.connection.execute(
            sa.select(table.c.first, table.c.last).where(table.c.subnet_id == SUBNET).order_by(table.c.first)
        ).all()
        ranges = [(int(first, 16), int(last, 16)) for first, last in rows]
        assert members(ranges) == self.free
        # Joined as far as they can be: the number of rows is bounded by the gaps, not by the history.
        assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(ranges))

    def teardown(self) -> None:
        self.connection.close()
        self.engine.dispose()


TestFreeRanges = FreeRanges.TestCase
TestFreeRanges.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_next_free_address_is_one_index_lookup(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        for statement in (ipam._lowest, ipam._at_or_above, ipam._ending_at):
            sql = str(statement.compile(engine))
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {sql}", (SUBNET, "1", "1", 0)[: sql.count("?")]
            ).all()
            assert all(row[3].startswith("SEARCH") for row in plan), (sql, plan)
            assert not any("TEMP B-TREE" in row[3] for row in plan), (sql, plan)


@given(st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 128) - 1))
def test_offsets_sort_as_text_as_they_do_as_numbers(a: int, b: int) -> None:
    assert (ipam.text_of(a) < ipam.text_of(b)) is (a < b)
    assert int(ipam.text_of(a), 16) == a
    assert len(ipam.text_of(a)) == 32


@given(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 64) - 1))
def test_eui64_is_undone_by_its_definition(mac: int, prefix: int) -> None:
    """RFC 4291, appendix A: ff:fe in the middle, one bit inverted."""
    network = ipaddress.IPv6Network((prefix << 64, 64))
    text = ":".join(f"{octet:02x}" for octet in mac.to_bytes(6, "big"))
    address = ipaddress.IPv6Address(ipam.eui64(network, text)).packed
    assert address[:8] == network.network_address.packed[:8]
    assert bytes([address[8] ^ 2]) + address[9:11] + address[13:] == mac.to_bytes(6, "big")
    assert address[11:13] == b"\xff\xfe"
    assert ipam.is_eui64(str(ipaddress.IPv6Address(address)))
