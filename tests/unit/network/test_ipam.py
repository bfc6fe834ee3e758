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

NET = ipaddress.IPv4Network("192.0.2.0/28")


def pool(start: int, end: int, network: ipaddress.IPv4Network = NET) -> dict[str, str]:
    return {"start": ipam.address_at(network, start), "end": ipam.address_at(network, end)}


@pytest.mark.parametrize(
    ("cidr", "expected"),
    [("192.0.2.0/24", (1, 254)), ("192.0.2.0/30", (1, 2)), ("192.0.2.0/31", (0, 1)), ("192.0.2.4/32", (0, 0))],
)
def test_host_range(cidr: str, expected: tuple[int, int]) -> None:
    assert ipam.host_range(ipaddress.IPv4Network(cidr)) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [("192.0.2.0", False), ("192.0.2.1", True), ("192.0.2.14", True), ("192.0.2.15", False), ("192.0.2.16", False)],
)
def test_is_host_address(address: str, expected: bool) -> None:
    assert ipam.is_host_address(NET, address) is expected


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ("192.0.2.1", [pool(2, 14)]),
        ("192.0.2.14", [pool(1, 13)]),
        ("192.0.2.7", [pool(1, 6), pool(8, 14)]),
        (None, [pool(1, 14)]),
    ],
)
def test_default_pools(gateway: str | None, expected: list[dict[str, str]]) -> None:
    assert ipam.default_pools(NET, gateway) == expected


POOL_ERRORS: list[tuple[list[dict[str, str]], type[errors.NetworkingError]]] = [
    ([pool(5, 4)], errors.InvalidAllocationPool),
    ([pool(0, 4)], errors.OutOfBoundsAllocationPool),
    ([pool(4, 15)], errors.OutOfBoundsAllocationPool),
    ([pool(16, 17)], errors.OutOfBoundsAllocationPool),
    ([pool(-3, 4)], errors.OutOfBoundsAllocationPool),
    ([pool(1, 4), pool(4, 6)], errors.OverlappingAllocationPools),
    ([pool(8, 9), pool(1, 14)], errors.OverlappingAllocationPools),
]


@pytest.mark.parametrize(("pools", "error"), POOL_ERRORS)
def test_pool_errors(pools: list[dict[str, str]], error: type[Exception]) -> None:
    with pytest.raises(error):
        ipam.check_pools(NET, pools)


def test_pools_may_touch() -> None:
    pools = [pool(5, 8), pool(1, 4)]
    ipam.check_pools(NET, pools)
    assert ipam.pool_ranges(NET, pools) == [(1, 8)]


@pytest.mark.parametrize(
    ("gateway", "error"),
    [
        ("192.0.2.0", errors.InvalidInput),
        ("192.0.2.15", errors.InvalidInput),
        ("198.51.100.1", errors.InvalidInput),
        ("192.0.2.4", errors.GatewayConflictWithAllocationPools),
    ],
)
def test_gateway_errors(gateway: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ipam.check_gateway(NET, gateway, [pool(4, 6)])


@pytest.mark.parametrize("gateway", [None, "192.0.2.3", "192.0.2.7"])
def test_good_gateways(gateway: str | None) -> None:
    ipam.check_gateway(NET, gateway, [pool(4, 6)])


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


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    yield from _engines()


def _engines() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE subnet_free_ranges (subnet_id TEXT, first INTEGER, last INTEGER, "
            "PRIMARY KEY (subnet_id, first), UNIQUE (subnet_id, last)) WITHOUT ROWID"
        )
    yield engine
    engine.dispose()


class FreeRanges(RuleBasedStateMachine):
    """take_next, take and release against a plain set of free offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.engines = _engines()
        self.connection = next(self.engines).connect()
        self.pools: list[ipam.Range] = []
        self.free: set[int] = set()
        self.taken: set[int] = set()

    @initialize(starts=st.lists(st.integers(0, SIZE), max_size=4, unique=True), data=st.data())
    def make(self, starts: list[int], data: Any) -> None:
        position = 0
        for start in sorted(starts):
            if start >= position:
                last = data.draw(st.integers(start, min(SIZE, start + 12)))
                self.pools.append((start, last))
                position = last + 2
        self.free = members(self.pools)
        # Another subnet's ranges must never be touched.
        ipam.replace_ranges(self.connection, "other", [(0, SIZE)])
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
        ranges = [(first, last) for first, last in rows]
        assert members(ranges) == self.free
        # Joined as far as they can be: the number of rows is bounded by the gaps, not by the history.
        assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(ranges))

    def teardown(self) -> None:
        self.connection.close()
        next(self.engines, None)


TestFreeRanges = FreeRanges.TestCase
TestFreeRanges.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_next_free_address_is_one_index_lookup(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        for statement in (ipam._lowest, ipam._at_or_below, ipam._above):
            sql = str(statement.compile(engine))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", (SUBNET, 1, 1, 0)[: sql.count("?")]).all()
            assert all(row[3].startswith("SEARCH") for row in plan), (sql, plan)
