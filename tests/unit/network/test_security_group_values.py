"""The values of security group rules: each by itself, how they fit together, and which rules say the same."""

from __future__ import annotations

from typing import Any

import pytest

from cove.network import errors
from cove.network import security_group_values as values


def rule(**given: Any) -> dict[str, Any]:
    return {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
        **given,
    }


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None), ("any", None), ("tcp", "tcp"), ("TCP", "tcp"), ("ipv6-icmp", "ipv6-icmp"), ("icmpv6", "icmpv6"),
        (17, "17"), ("17", "17"), (0, "0"), ("255", "255"), ("ip", "ip"), ("vrrp", "vrrp"),
    ],
)  # fmt: skip
def test_protocols_are_kept_as_they_are_written(given: Any, kept: str | None) -> None:
    assert values.protocol(given) == kept


@pytest.mark.parametrize("given", ["bad_protocol_name", "", 256, -1, "256", True, 1.5, [], {}, "1" * 5000, "tcp\n"])
def test_unknown_protocols_are_refused(given: Any) -> None:
    with pytest.raises(errors.SecurityGroupRuleInvalidProtocol):
        values.protocol(given)


@pytest.mark.parametrize(("given", "kept"), [(None, None), (0, 0), (65535, 65535), ("80", 80)])
def test_ports(given: Any, kept: int | None) -> None:
    assert values.port(given) == kept


@pytest.mark.parametrize("given", [-16, 65536, "http", "", True, 1.0, [80], "9" * 5000])
def test_numbers_that_are_no_ports(given: Any) -> None:
    with pytest.raises(errors.SecurityGroupInvalidPortValue, match="Invalid value for port"):
        values.port(given)


@pytest.mark.parametrize(("given", "kept"), [("ipv4", "IPv4"), ("IPV6", "IPv6"), ("IPv6", "IPv6")])
def test_ethertypes_in_any_case(given: str, kept: str) -> None:
    assert values.ethertype(given) == kept


@pytest.mark.parametrize("given", ["bad_ethertype", 4, None, "", []])
def test_unknown_ethertypes_are_refused(given: Any) -> None:
    with pytest.raises(errors.SecurityGroupRuleInvalidEtherType):
        values.ethertype(given)


@pytest.mark.parametrize(
    ("given", "kept", "normalized"),
    [
        (None, None, None),
        ("", None, None),
        ("10.0.0.34/24", "10.0.0.34/24", "10.0.0.0/24"),
        ("192.0.2.7", "192.0.2.7/32", "192.0.2.7/32"),
        ("0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::1/64", "2001:db8::1/64", "2001:db8::/64"),
        ("::/0", "::/0", "::/0"),
    ],
)
def test_prefixes_keep_their_host_bits(given: Any, kept: str | None, normalized: str | None) -> None:
    assert values.ip_prefix(given) == kept
    assert values.normalized_cidr(kept) == normalized


@pytest.mark.parametrize(
    "given", ["192.168.1./24", "192.168.1.1/33", "bad_prefix", "256", 7, "fe80::1%eth0/64", "1" * 99]
)
def test_what_is_no_prefix(given: Any) -> None:
    with pytest.raises(errors.InvalidCIDR):
        values.ip_prefix(given)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"port_range_min": 80, "port_range_max": 80}, errors.SecurityGroupProtocolRequiredWithPorts, "protocol"),
        ({"protocol": "tcp", "port_range_min": 80, "port_range_max": 79}, errors.SecurityGroupInvalidPortRange,
         "port_range_min must be <= port_range_max"),
        ({"protocol": "tcp", "port_range_max": 6}, errors.SecurityGroupInvalidPortRange,
         "port_range_min must be <= port_range_max"),
        ({"protocol": "17", "port_range_min": 6}, errors.SecurityGroupInvalidPortRange, "port_range_min must be <="),
        ({"protocol": "sctp", "port_range_min": 0, "port_range_max": 9}, errors.SecurityGroupInvalidPortValue,
         "Invalid value for port 0"),
        ({"protocol": "icmp", "port_range_min": 1, "port_range_max": 256}, errors.SecurityGroupInvalidIcmpValue,
         "Invalid value for ICMP code"),
        ({"protocol": "icmp", "port_range_min": 300, "port_range_max": 1}, errors.SecurityGroupInvalidIcmpValue,
         "Invalid value for ICMP type"),
        ({"protocol": "icmp", "port_range_max": 6}, errors.SecurityGroupMissingIcmpType,
         r"ICMP type \(port-range-min\) is missing"),
        ({"protocol": "gre", "port_range_min": 1, "port_range_max": 2}, errors.SecurityGroupInvalidProtocolForPort,
         "gre has no ports"),
        ({"protocol": "esp", "port_range_min": 1}, errors.SecurityGroupInvalidProtocolForPort, "esp"),
        ({"remote_ip_prefix": "2001:db8::/64"}, errors.SecurityGroupRuleParameterConflict, "Conflicting value"),
        ({"ethertype": "IPv6", "remote_ip_prefix": "192.0.2.0/24"}, errors.SecurityGroupRuleParameterConflict,
         "Conflicting value"),
        ({"remote_ip_prefix": "192.0.2.0/24", "remote_group_id": "g"},
         errors.SecurityGroupMultipleRemoteEntites, "one"),
        ({"protocol": "ipv6-icmp"}, errors.SecurityGroupEthertypeConflictWithProtocol, "IPv4"),
        ({"protocol": "icmpv6"}, errors.SecurityGroupEthertypeConflictWithProtocol, "IPv4"),
        ({"protocol": "58"}, errors.SecurityGroupEthertypeConflictWithProtocol, "58"),
        ({"protocol": "ipv6-route"}, errors.SecurityGroupEthertypeConflictWithProtocol, "IPv4"),
        ({"protocol": "44"}, errors.SecurityGroupEthertypeConflictWithProtocol, "IPv4"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together(given: dict[str, Any], error: type[errors.InvalidInput], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        values.check(rule(**given))
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"protocol": "tcp", "port_range_min": 77, "port_range_max": 77}, {}),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65535},
         {"port_range_min": None, "port_range_max": None}),
        ({"protocol": "icmp", "port_range_min": 0, "port_range_max": 0}, {}),
        ({"protocol": "icmp", "port_range_min": 11}, {}),
        ({"protocol": "1", "port_range_min": 8, "port_range_max": 0}, {}),
        ({"ethertype": "IPv6", "protocol": "icmp"}, {"protocol": "ipv6-icmp"}),
        ({"ethertype": "IPv6", "protocol": "icmpv6"}, {"protocol": "ipv6-icmp"}),
        ({"ethertype": "IPv6", "protocol": "1"}, {"protocol": "58"}),
        ({"ethertype": "IPv6", "protocol": "ipv6-icmp", "port_range_min": 128}, {}),
        ({"ethertype": "IPv6", "protocol": "ipv6-frag"}, {}),
        ({"remote_ip_prefix": "10.0.0.34/24"}, {}),
        ({"remote_group_id": "g"}, {}),
    ],
)  # fmt: skip
def test_what_is_right_is_kept_in_its_canonical_form(given: dict[str, Any], changed: dict[str, Any]) -> None:
    checked = rule(**given)
    values.check(checked)
    assert checked == rule(**given) | changed


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"description": "other words"}, True),
        ({}, {"remote_ip_prefix": "0.0.0.0/0"}, True),
        ({}, {"remote_ip_prefix": "::/0"}, True),
        ({"protocol": "tcp"}, {"protocol": "6"}, True),
        ({"protocol": "ip"}, {"protocol": "hopopt"}, False),
        ({"protocol": "ipv6-icmp"}, {"protocol": "58"}, True),
        ({"protocol": "200"}, {"protocol": "200"}, True),
        ({"protocol": "tcp"}, {"protocol": "udp"}, False),
        ({"protocol": "tcp"}, {"protocol": None}, False),
        ({"direction": "egress"}, {}, False),
        ({"ethertype": "IPv6"}, {}, False),
        ({"remote_ip_prefix": "10.0.0.0/24"}, {"remote_ip_prefix": "10.0.0.34/24"}, False),
        ({"remote_group_id": "a"}, {"remote_group_id": "b"}, False),
        ({"port_range_min": 1, "port_range_max": 2}, {"port_range_min": 1, "port_range_max": 3}, False),
    ],
)
def test_which_rules_say_the_same(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (values.key(rule(**one)) == values.key(rule(**other))) is same
