"""The firewall's tables: whatever is done in whatever order, the commands for the changes and those for all agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.compute.firewall_rules import FirewallError, Guest, Rule
from cove.compute.firewall_table import FirewallTable, Tracking
from tests.unit.compute.nft_model import Kernel

GROUPS = ["g1", "g2", "g3"]
ADDRESSES = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "198.51.100.0/24", "198.51.100.0/25", "2001:db8:1::/48"]
RULES = [
    Rule("ingress", 4),
    Rule("egress", 6),
    Rule("ingress", 4, 6, 80, 81, "10.0.0.0/8"),
    *(Rule("ingress", 4, remote_group=group) for group in GROUPS),
    *(Rule("egress", 6, 58, remote_group=group) for group in GROUPS),
]

guests = st.builds(
    Guest,
    tap=st.sampled_from(["tap1", "tap2", "tap3"]),
    bridge=st.sampled_from(["brq1", "brq2"]),
    addresses=st.just(("192.0.2.1",)),
    groups=st.lists(st.sampled_from(GROUPS), unique=True).map(tuple),
    stateful=st.booleans(),
)
group = st.sampled_from(GROUPS)
addresses = st.lists(st.sampled_from(ADDRESSES), max_size=4)
operations = st.one_of(
    st.tuples(st.just("put_guest"), guests),
    st.tuples(st.just("drop_guest"), st.sampled_from(["tap1", "tap2", "tap3"])),
    st.tuples(st.just("put_rules"), group, st.lists(st.sampled_from(RULES), unique=True, max_size=4)),
    st.tuples(st.just("set_members"), group, addresses),
    st.tuples(st.just("change_members"), group, addresses),
)


@pytest.mark.parametrize("tracking", Tracking)
@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=25))
def test_changes_and_the_whole_agree(tracking: Tracking, steps: list[tuple[object, ...]]) -> None:
    table, kernel = FirewallTable("t", tracking), Kernel()
    kernel.apply(table.whole())
    for name, *arguments in steps:
        kernel.apply(getattr(table, str(name))(*arguments))
        fresh = Kernel()
        fresh.apply(table.whole())
        assert kernel == fresh


def test_the_same_change_twice_is_no_change() -> None:
    table = FirewallTable("t", Tracking.IP_HOOKS)
    guest = Guest("tap1", "brq1", ("192.0.2.1",), ("g1",))
    rules = [Rule("ingress", 4, remote_group="g2")]
    assert table.put_guest(guest)
    assert table.put_rules("g1", rules)
    assert table.change_members("g2", ["192.0.2.1", "192.0.2.1"])
    assert table.put_guest(guest) == table.put_rules("g1", rules) == table.set_members("g2", ["192.0.2.1"] * 2) == []
    # Another port has the address, too, until it has gone.
    assert table.change_members("g2", [], ["192.0.2.1"]) == []
    assert table.change_members("g2", [], ["192.0.2.1"]) == ["delete element bridge t ip4_g2 { 192.0.2.1 }"]


def test_a_change_costs_what_changes() -> None:
    table = FirewallTable("t", Tracking.IP_HOOKS)
    for number in range(300):
        table.put_guest(Guest(f"tap{number}", "brq1", (), ("g1",)))
    table.put_rules("g1", [Rule("ingress", 4, remote_group="g1")])
    table.set_members("g1", [f"10.0.{n >> 8}.{n & 255}" for n in range(5000)])
    assert len(table.change_members("g1", ["10.1.0.1"])) == 1
    assert len(table.put_rules("g1", [Rule("ingress", 4)])) < 12
    assert len(table.put_guest(Guest("tap300", "brq1", (), ("g1",)))) < 20
    assert len(table.drop_guest("tap300")) < 10


def test_networks_of_a_set_do_not_overlap() -> None:
    table = FirewallTable("t", Tracking.IP_HOOKS)
    table.put_guest(Guest("tap1", "brq1", (), ("g1",)))
    table.put_rules("g1", [Rule("ingress", 4, remote_group="g1")])
    assert table.change_members("g1", ["198.51.100.0/25"]) == ["add element bridge t net4_g1 { 198.51.100.0/25 }"]
    assert table.change_members("g1", ["198.51.100.0/24"]) == [
        "delete element bridge t net4_g1 { 198.51.100.0/25 }",
        "add element bridge t net4_g1 { 198.51.100.0/24 }",
    ]
    assert table.change_members("g1", [], ["198.51.100.0/25"]) == []


@pytest.mark.parametrize("tracking", Tracking)
def test_packets_are_judged_after_their_connection_is_known(tracking: Tracking) -> None:
    """On a bridge: its own tracking at -200; br_netfilter at 0, which may pass over what has the same priority."""
    hooks = [line for line in FirewallTable("t", tracking).whole() if " hook " in line and " bridge t " in line]
    judging = [line for line in hooks if any(f" t {chain} " in line for chain in ("from", "to", "to_from_host"))]
    assert len(judging) == 3
    for line in judging:
        assert int(line.split("priority ")[1].split(";")[0]) > 0, line


def test_what_nobody_uses_is_not_there() -> None:
    table, kernel, empty = FirewallTable("t", Tracking.IP_HOOKS), Kernel(), Kernel()
    empty.apply(table.whole())
    kernel.apply(table.whole())
    kernel.apply(table.put_guest(Guest("tap1", "brq1", ("192.0.2.1",), ("g1", "g2"))))
    kernel.apply(table.put_rules("g1", RULES))
    kernel.apply(table.set_members("g3", ["192.0.2.1"]))
    assert (table.groups, table.remotes) == ({"g1", "g2"}, {"g1", "g2", "g3"})
    kernel.apply(table.drop_guest("tap1"))
    assert kernel == empty
    assert (table.groups, table.remotes, table.zones()) == (set(), set(), set())


def test_a_bridge_keeps_its_zone_and_no_two_share_one() -> None:
    def table(*bridges: str) -> FirewallTable:
        made = FirewallTable("t", Tracking.BRIDGE)
        for number, bridge in enumerate(bridges):
            made.put_guest(Guest(f"tap{number}", bridge))
        return made

    assert table("brq1", "brq2").zone("brq1") == table("brq2", "brq1").zone("brq1")
    many = table(*(f"brq{number}" for number in range(2000)))
    assert len(many.zones()) == 2000
    assert min(many.zones()) > 0
    assert max(many.zones()) <= 65535


@pytest.mark.parametrize(("tap", "bridge"), [("tap 1", "brq1"), ('tap1" : accept', "brq1"), ("tap1", "b;rq\n")])
def test_names_cannot_be_commands(tap: str, bridge: str) -> None:
    with pytest.raises(FirewallError):
        Guest(tap, bridge)
