"""The rules of the spoof guard as text. That they do what they say is shown with frames, in the integration tests."""

from __future__ import annotations

import itertools
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.compute.spoofguard import GuestRules, SpoofGuard, SpoofGuardError, chain_rules, link_local

MAC = "fa:16:3e:3c:a3:3e"


LL = "0xfe80000000000000f8163efffe3ca33e"
BEFORE = [
    "ether type { vlan, 8021ad } drop",
    "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
    "udp sport { 67, 547 } drop",
    "udp dport { 68, 546 } drop",
    "icmpv6 type { nd-router-advert, nd-redirect } drop",
    "ip6 saddr :: icmpv6 type"
    " { nd-router-solicit, mld-listener-report, mld-listener-done, mld2-listener-report } accept",
]
ARP = "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether"


def test_golden_rules() -> None:
    targets = f"{{ 0x20010db8000000000000000000000005, {LL} }}"
    assert chain_rules(GuestRules("tap0", MAC, ("1.1.1.10", "2001:db8::5"))) == [
        f"ether saddr != {MAC} drop",
        *BEFORE,
        f"{ARP} {MAC} arp saddr ip {{ 0.0.0.0, 1.1.1.10 }} accept",
        "ip saddr { 1.1.1.10 } accept",
        f"icmpv6 type nd-neighbor-advert @th,64,128 != {targets} drop",
        f"ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 {targets} accept",
        "ip6 saddr :: drop",
        "ip6 saddr { 2001:db8::5, fe80::f816:3eff:fe3c:a33e } accept",
        "drop",
    ]


def test_pairs_of_addresses() -> None:
    pairs = (("", "2.2.2.0/24"), ("fa:16:3e:00:00:99", "1.1.1.10"), (MAC, "2001:db8::/64"), ("", "2001:db8::7"))
    rules = chain_rules(GuestRules("tap0", MAC, ("1.1.1.10", "2.2.2.7", "2001:db8::5"), pairs))
    one, two = f"ether saddr {MAC} ", "ether saddr fa:16:3e:00:00:99 "
    assert rules[0] == f"ether saddr != {{ {MAC}, fa:16:3e:00:00:99 }} drop"
    assert f"{one}ip saddr {{ 1.1.1.10, 2.2.2.0/24 }} accept" in rules
    assert f"{one}{ARP} {MAC} arp saddr ip {{ 0.0.0.0, 1.1.1.10, 2.2.2.0/24 }} accept" in rules
    assert f"{one}ip6 saddr {{ 2001:db8::/64, fe80::f816:3eff:fe3c:a33e }} accept" in rules
    prefix = "0x20010db8000000000000000000000000-0x20010db800000000ffffffffffffffff"
    assert f"{one}icmpv6 type nd-neighbor-advert @th,64,128 != {{ {prefix}, {LL} }} drop" in rules
    assert f"{two}ip saddr {{ 1.1.1.10 }} accept" in rules
    assert f"{two}ip6 saddr {{ fe80::f816:3eff:fe00:99 }} accept" in rules
    assert len([rule for rule in rules if rule.startswith(two)]) == 6


def test_a_pair_with_all_addresses_asks_nothing_of_them() -> None:
    rules = chain_rules(GuestRules("tap0", MAC, ("1.1.1.10",), (("", "0.0.0.0/0"), ("", "::/0"))))
    assert rules[-6:] == [
        f"{ARP} {MAC} accept",
        "ether type ip accept",
        "ip6 saddr :: icmpv6 type nd-neighbor-solicit accept",
        "ip6 saddr :: drop",
        "ether type ip6 accept",
        "drop",
    ]


def test_a_guest_without_addresses_may_still_ask_for_one() -> None:
    rules = chain_rules(GuestRules("tap0", MAC, ()))
    assert not [rule for rule in rules if rule.startswith("ip saddr {")]
    assert "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept" in rules
    assert f"{ARP} {MAC} arp saddr ip {{ 0.0.0.0 }} accept" in rules
    assert rules[-1] == "drop"


@pytest.mark.parametrize(
    ("tap", "mac_address", "addresses", "pairs"),
    [
        ("tap 0", MAC, (), ()),
        ('tap"', MAC, (), ()),
        ("tap0\n", MAC, (), ()),
        ("t" * 16, MAC, (), ()),
        ("", MAC, (), ()),
        ("tap0", "fa:16:3e:3c:a3", (), ()),
        ("tap0", MAC.upper(), (), ()),
        ("tap0", MAC + "\n", (), ()),
        ("tap0", MAC, ("1.1.1.10 }; flush ruleset",), ()),
        ("tap0", MAC, ("1.1.1.0/24",), ()),
        ("tap0", MAC, (), (("", "1.1.1.10 }; flush ruleset"),)),
        ("tap0", MAC, (), (("", "1.1.1.0/33"),)),
        ("tap0", MAC, (), (("aa:bb", "1.1.1.10"),)),
    ],
)
def test_what_must_not_get_into_rules(
    tap: str, mac_address: str, addresses: tuple[str, ...], pairs: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(SpoofGuardError):
        GuestRules(tap, mac_address, addresses, pairs)


@given(st.text(max_size=20), st.text(max_size=20), st.lists(st.text(max_size=20), max_size=2))
def test_nothing_odd_gets_into_rules(tap: str, mac_address: str, addresses: list[str]) -> None:
    try:
        rules = chain_rules(GuestRules(tap, mac_address, tuple(addresses)))
    except SpoofGuardError:
        return
    assert all("\n" not in rule and ";" not in rule for rule in rules)


@given(st.ip_addresses(v=6), st.ip_addresses(v=4))
def test_addresses_are_written_in_full(six: object, four: object) -> None:
    rules = "\n".join(chain_rules(GuestRules("tap0", MAC, (str(six), str(four)))))
    assert f"ip saddr {{ {four} }} accept" in rules
    assert str(six) in rules.rpartition("ip6 saddr {")[2]


NETWORKS = st.tuples(st.ip_addresses(v=4), st.integers(0, 32)) | st.tuples(st.ip_addresses(v=6), st.integers(0, 128))


@given(st.lists(st.tuples(st.sampled_from(["", MAC, "fa:16:3e:00:00:99"]), NETWORKS), max_size=6))
def test_pairs_are_claimed_and_never_twice(pairs: list[tuple[str, tuple[Any, int]]]) -> None:
    given_pairs = tuple((mac, f"{address}/{length}") for mac, (address, length) in pairs)
    claims = GuestRules("tap0", MAC, ("1.1.1.10",), given_pairs).claims()
    for mac, text in given_pairs:
        of_mac: tuple[Any, ...] = (*claims[mac or MAC].ipv4, *claims[mac or MAC].ipv6)
        wanted: Any = ip_network(text, strict=False)
        assert any(wanted.version == n.version and wanted.subnet_of(n) for n in of_mac)
    for claimed in claims.values():
        for networks in claimed:
            found: tuple[Any, ...] = networks
            assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2))


def test_link_local() -> None:
    assert link_local("fa:16:3e:00:00:01") == "fe80::f816:3eff:fe00:1"


def test_two_coves_have_two_tables(tmp_path: Path) -> None:
    assert SpoofGuard(tmp_path / "a").table != SpoofGuard(tmp_path / "b").table
    assert SpoofGuard(tmp_path / "a").table == SpoofGuard(tmp_path / "a").table
