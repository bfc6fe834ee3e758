"""The rules of the spoof guard as text. That they do what they say is shown with frames, in the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.compute.spoofguard import GuestRules, SpoofGuard, SpoofGuardError, chain_rules, link_local

MAC = "fa:16:3e:3c:a3:3e"


def test_golden_rules() -> None:
    assert chain_rules(GuestRules("tap0", MAC, ("1.1.1.10", "2001:db8::5"))) == [
        "ether saddr != fa:16:3e:3c:a3:3e drop",
        "ether type { vlan, 8021ad } drop",
        "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether fa:16:3e:3c:a3:3e"
        " arp saddr ip { 0.0.0.0, 1.1.1.10 } accept",
        "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
        "udp sport { 67, 547 } drop",
        "icmpv6 type { nd-router-advert, nd-redirect } drop",
        "icmpv6 type nd-neighbor-advert @th,64,128 !="
        " { 0xfe80000000000000f8163efffe3ca33e, 0x20010db8000000000000000000000005 } drop",
        "ip saddr { 1.1.1.10 } accept",
        "ip6 saddr { ::, fe80::f816:3eff:fe3c:a33e, 2001:db8::5 } accept",
        "drop",
    ]


def test_a_guest_without_addresses_may_still_ask_for_one() -> None:
    rules = chain_rules(GuestRules("tap0", MAC, ()))
    assert not [rule for rule in rules if rule.startswith("ip saddr {")]
    assert "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept" in rules
    assert rules[-1] == "drop"


@pytest.mark.parametrize(
    ("tap", "mac_address", "addresses"),
    [
        ("tap 0", MAC, ()),
        ('tap"', MAC, ()),
        ("tap0\n", MAC, ()),
        ("t" * 16, MAC, ()),
        ("", MAC, ()),
        ("tap0", "fa:16:3e:3c:a3", ()),
        ("tap0", MAC.upper(), ()),
        ("tap0", MAC + "\n", ()),
        ("tap0", MAC, ("1.1.1.10 }; flush ruleset",)),
        ("tap0", MAC, ("1.1.1.0/24",)),
    ],
)
def test_what_must_not_get_into_rules(tap: str, mac_address: str, addresses: tuple[str, ...]) -> None:
    with pytest.raises(SpoofGuardError):
        GuestRules(tap, mac_address, addresses)


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
    assert f"{{ {four} }}" in rules
    assert f", {six} }}" in rules


def test_link_local() -> None:
    assert link_local("fa:16:3e:00:00:01") == "fe80::f816:3eff:fe00:1"


def test_two_coves_have_two_tables(tmp_path: Path) -> None:
    assert SpoofGuard(tmp_path / "a").table != SpoofGuard(tmp_path / "b").table
    assert SpoofGuard(tmp_path / "a").table == SpoofGuard(tmp_path / "a").table
