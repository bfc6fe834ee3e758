"""Rules of the Networking API in nft's language, and the same question answered without it."""

from __future__ import annotations

from typing import Any

import pytest

from cove.compute import firewall_rules as fw
from cove.compute.firewall_rules import Packet, Rule, expressions, permits, rule_of
from cove.network import security_group_values


def shown(**given: Any) -> dict[str, Any]:
    """A rule as the API shows it."""
    return {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
        "remote_address_group_id": None,
        **given,
    }


def test_protocols_are_those_of_the_networking_service() -> None:
    assert fw.PROTOCOLS == security_group_values.PROTOCOLS


@pytest.mark.parametrize(
    ("given", "rule", "nft"),
    [
        ({}, Rule("ingress", 4), ["meta protocol ip"]),
        ({"direction": "egress", "ethertype": "IPv6"}, Rule("egress", 6), ["meta protocol ip6"]),
        ({"protocol": "tcp"}, Rule("ingress", 4, 6), ["meta protocol ip meta l4proto 6"]),
        ({"protocol": "112"}, Rule("ingress", 4, 112), ["meta protocol ip meta l4proto 112"]),
        ({"protocol": "ip"}, Rule("ingress", 4), ["meta protocol ip"]),
        (
            {"protocol": "tcp", "port_range_min": 80, "port_range_max": 80},
            Rule("ingress", 4, 6, 80, 80),
            ["meta protocol ip meta l4proto 6 th dport 80"],
        ),
        (
            {"protocol": "udp", "port_range_min": 50, "port_range_max": 55, "remote_ip_prefix": "10.0.0.34/24"},
            Rule("ingress", 4, 17, 50, 55, "10.0.0.0/24"),
            ["meta protocol ip meta l4proto 17 th dport 50-55 ip saddr 10.0.0.0/24"],
        ),
        (
            {"direction": "egress", "remote_ip_prefix": "192.0.2.7/32"},
            Rule("egress", 4, prefix="192.0.2.7/32"),
            ["meta protocol ip ip daddr 192.0.2.7/32"],
        ),
        ({"remote_ip_prefix": "0.0.0.0/0"}, Rule("ingress", 4), ["meta protocol ip"]),
        (
            {"ethertype": "IPv6", "remote_ip_prefix": "::/0", "protocol": "ipv6-icmp", "port_range_min": 128},
            Rule("ingress", 6, 58, 128),
            ["meta protocol ip6 meta l4proto 58 icmpv6 type 128"],
        ),
        (
            {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0},
            Rule("ingress", 4, 1, 8, 0),
            ["meta protocol ip meta l4proto 1 icmp type 8 icmp code 0"],
        ),
        (
            {"remote_group_id": "a-b"},
            Rule("ingress", 4, remote_group="a-b"),
            ["meta protocol ip ip saddr @ip4_a_b", "meta protocol ip ip saddr @net4_a_b"],
        ),
        (
            {"direction": "egress", "ethertype": "IPv6", "remote_group_id": "a-b"},
            Rule("egress", 6, remote_group="a-b"),
            ["meta protocol ip6 ip6 daddr @ip6_a_b", "meta protocol ip6 ip6 daddr @net6_a_b"],
        ),
    ],
)
def test_a_rule_in_nfts_language(given: dict[str, Any], rule: Rule, nft: list[str]) -> None:
    assert rule_of(shown(**given)) == rule
    assert expressions(rule) == nft


@pytest.mark.parametrize("given", [{"ethertype": "ARP"}, {"direction": "up"}, {"remote_address_group_id": "x"}])
def test_a_rule_that_is_not_understood_lets_nothing_pass(given: dict[str, Any]) -> None:
    assert rule_of(shown(**given)) is None


def test_the_addresses_of_a_port() -> None:
    port = {
        "fixed_ips": [{"ip_address": "192.0.2.9"}, {"ip_address": "2001:db8::1"}],
        "allowed_address_pairs": [
            {"ip_address": "198.51.100.0/24"},
            {"ip_address": "192.0.2.9/32"},
            {"ip_address": "2001:DB8::0:1"},
        ],
    }
    assert fw.addresses_of(port) == ("192.0.2.9", "198.51.100.0/24", "2001:db8::1")
    assert fw.addresses_of({"fixed_ips": [], "allowed_address_pairs": None}) == ()


TCP = Packet(4, 6, "192.0.2.1", "192.0.2.2", port=80)
PING = Packet(4, 1, "192.0.2.1", "192.0.2.2", icmp_type=8, icmp_code=0)
TCP6 = Packet(6, 6, "2001:db8::1", "2001:db8::2", port=80)
MEMBERS = {"g": {"192.0.2.1", "198.51.100.0/24", "2001:db8::/64"}}


@pytest.mark.parametrize(
    ("rule", "packet", "passes"),
    [
        (Rule("ingress", 4), TCP, True),
        (Rule("egress", 4), TCP, False),
        (Rule("ingress", 6), TCP, False),
        (Rule("ingress", 4, 6), TCP, True),
        (Rule("ingress", 4, 17), TCP, False),
        (Rule("ingress", 4, 6, 79, 81), TCP, True),
        (Rule("ingress", 4, 6, 81, 90), TCP, False),
        (Rule("ingress", 4, 6, 80, 80), TCP, True),
        (Rule("ingress", 4, 1, 8, 0), PING, True),
        (Rule("ingress", 4, 1, 8), PING, True),
        (Rule("ingress", 4, 1, 8, 1), PING, False),
        (Rule("ingress", 4, 1, 3), PING, False),
        (Rule("ingress", 4, prefix="192.0.2.0/31"), TCP, True),
        (Rule("ingress", 4, prefix="192.0.2.2/32"), TCP, False),
        (Rule("ingress", 4, remote_group="g"), TCP, True),
        (Rule("ingress", 6, remote_group="g"), TCP6, True),
        (Rule("ingress", 4, remote_group="none"), TCP, False),
        (Rule("ingress", 4, remote_group="g"), Packet(4, 6, "192.0.2.3", "192.0.2.2"), False),
        (Rule("ingress", 4, remote_group="g"), Packet(4, 6, "198.51.100.3", "192.0.2.2"), True),
    ],
)
def test_which_packets_pass(rule: Rule, packet: Packet, passes: bool) -> None:
    assert permits([rule], "ingress", packet, MEMBERS) is passes
    assert not permits([], "ingress", packet, MEMBERS)


def test_egress_looks_at_where_a_packet_goes() -> None:
    assert permits([Rule("egress", 4, prefix="192.0.2.2/32")], "egress", TCP, {})
    assert not permits([Rule("egress", 4, prefix="192.0.2.1/32")], "egress", TCP, {})
