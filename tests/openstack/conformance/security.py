"""Calls about security groups, their rules, and the rules that new groups start with."""

from __future__ import annotations

from typing import Any

from .calls import ADMIN, ALICE, BOB, MARA, RITA, Scenario, delete, get, post, put
from .networks import LONG, NOWHERE

GROUP = "security group"
RULE = "security group rule"
NEW = post(ALICE, "security-groups", {"name": "g"}, save="group")


def rule(**values: Any) -> dict[str, Any]:
    """A rule of the group."""
    return {"security_group_id": "{group}", "direction": "ingress", **values}


def bounds(protocol: Any, low: Any, high: Any, **values: Any) -> dict[str, Any]:
    """A rule with a protocol and a range of ports, or a type and a code."""
    return rule(protocol=protocol, port_range_min=low, port_range_max=high, **values)


def starting(**values: Any) -> dict[str, Any]:
    """A rule that new groups start with, other than the default group."""
    return {"direction": "ingress", "used_in_default_sg": False, "used_in_non_default_sg": True, **values}


BAD: tuple[dict[str, Any], ...] = (
    {},
    {"security_group_id": "{group}"},
    {"direction": "ingress"},
    {"security_group_id": NOWHERE, "direction": "ingress"},
    {"security_group_id": "x", "direction": "ingress"},
    rule(direction="sideways"),
    rule(direction=None),
    rule(ethertype="IPv5"),
    rule(ethertype=4),
    rule(protocol="carrier pigeon"),
    rule(protocol=256),
    rule(protocol=-1),
    rule(protocol="256"),
    rule(protocol=""),
    bounds("tcp", 80, None),
    bounds("tcp", None, 80),
    bounds("tcp", 90, 80),
    bounds("tcp", 0, 80),
    bounds("tcp", 1, 65536),
    bounds("tcp", -1, -1),
    bounds("tcp", "x", 80),
    bounds("icmp", 256, None),
    bounds("icmp", 8, 256),
    bounds("icmp", None, 0),
    bounds("icmp", 3, 500),
    bounds(None, 80, 80),
    bounds("gre", 80, 80),
    bounds("ah", 80, 80),
    rule(remote_ip_prefix="x"),
    rule(remote_ip_prefix="10.0.0.0/33"),
    rule(remote_ip_prefix="fd00::/64"),
    rule(remote_ip_prefix="10.0.0.0/8", ethertype="IPv6"),
    rule(remote_ip_prefix="10.0.0.0/8", remote_group_id="{group}"),
    rule(remote_ip_prefix=""),
    rule(remote_group_id="x"),
    rule(remote_group_id=NOWHERE),
    rule(remote_address_group_id=NOWHERE),
    rule(protocol="icmp", ethertype="IPv6"),
    rule(protocol="icmpv6", ethertype="IPv4"),
    rule(protocol="ipv6-icmp"),
    rule(protocol="ipv6-frag"),
    rule(description=LONG),
    rule(tenant_id="{bob}"),
    rule(id=NOWHERE),
    rule(normalized_cidr="10.0.0.0/8"),
    rule(bogus=1),
)
GOOD: tuple[dict[str, Any], ...] = (
    rule(),
    rule(direction="egress", protocol="tcp"),
    rule(ethertype="IPv6"),
    rule(ethertype="ipv4", protocol="udp"),
    rule(ethertype=None, protocol="sctp"),
    rule(protocol="TCP", description="capitals"),
    rule(protocol=6, description="a number"),
    rule(protocol="17", remote_ip_prefix="10.1.0.0/16"),
    rule(protocol=0),
    rule(protocol="0", remote_ip_prefix="10.77.0.0/16"),
    rule(protocol="any", remote_ip_prefix="10.2.0.0/16"),
    rule(protocol=255),
    rule(protocol="ipip"),
    rule(protocol="vrrp"),
    bounds("tcp", 80, 80),
    bounds("tcp", "81", "82"),
    bounds("tcp", 1, 65535),
    bounds("udp", 53, 54),
    bounds("sctp", 53, 54),
    bounds("dccp", 53, 54),
    bounds("udplite", 53, 54),
    bounds("icmp", 8, None),
    bounds("icmp", 8, 0),
    bounds("icmp", 0, 0),
    bounds("1", 3, 1),
    bounds("icmpv6", 128, None, ethertype="IPv6"),
    bounds("ipv6-icmp", 129, 0, ethertype="IPv6"),
    bounds("58", 133, None, ethertype="IPv6"),
    rule(remote_ip_prefix="10.3.0.0/16"),
    rule(remote_ip_prefix="10.4.0.7/16"),
    rule(remote_ip_prefix="10.5.0.7"),
    rule(remote_ip_prefix="0.0.0.0/0"),
    rule(remote_ip_prefix="FD00::5/64", ethertype="IPv6"),
    rule(remote_ip_prefix="::/0", ethertype="IPv6"),
    rule(remote_group_id="{group}"),
    rule(remote_ip_prefix=None, protocol="esp"),
    rule(tenant_id="{alice}", protocol="ah"),
)

SCENARIOS = (
    Scenario(
        GROUP,
        "life of a security group",
        (
            NEW,
            get(ALICE, "security-groups/{group}"),
            get(ALICE, "security-groups?name=g"),
            get(RITA, "security-groups/{group}"),
            get(BOB, "security-groups/{group}"),
            get(BOB, "security-groups?id={group}"),
            get(ADMIN, "security-groups/{group}"),
            put(ALICE, "security-groups/{group}", {"name": "h", "description": "d"}),
            put(ALICE, "security-groups/{group}", {"stateful": False}),
            put(ALICE, "security-groups/{group}", {"name": LONG}),
            put(ALICE, "security-groups/{group}", {"name": ""}),
            put(ALICE, "security-groups/{group}", {"tenant_id": "{bob}"}),
            put(ALICE, "security-groups/{group}", {"bogus": 1}),
            put(RITA, "security-groups/{group}", {"name": "x"}),
            put(BOB, "security-groups/{group}", {"name": "x"}),
            delete(RITA, "security-groups/{group}"),
            delete(BOB, "security-groups/{group}"),
            post(RITA, "security-groups", {"name": "r"}),
            post(MARA, "security-groups", {"name": "m"}),
            delete(ALICE, "security-groups/{group}"),
            get(ALICE, "security-groups/{group}"),
            delete(ALICE, "security-groups/{group}"),
        ),
    ),
    Scenario(
        GROUP,
        "values",
        tuple(
            post(ALICE, "security-groups", values)
            for values in (
                {},
                {"name": ""},
                {"name": None},
                {"name": 5},
                {"name": LONG},
                {"name": "default"},
                {"name": "Default"},
                {"name": "g", "description": None},
                {"name": "g", "description": LONG},
                {"name": "g", "stateful": False},
                {"name": "g", "stateful": "x"},
                {"name": "g", "tenant_id": "{alice}"},
                {"name": "g", "tenant_id": "{bob}"},
                {"name": "g", "shared": True},
                {"name": "g", "tags": ["a"]},
                {"name": "g", "security_group_rules": []},
                {"name": "g", "id": NOWHERE},
                {"name": "g", "bogus": 1},
            )
        ),
    ),
    Scenario(
        GROUP,
        "the default group",
        (
            get(ALICE, "security-groups?name=default", save="default"),
            get(ALICE, "security-groups/{default}"),
            delete(ALICE, "security-groups/{default}"),
            put(ALICE, "security-groups/{default}", {"name": "x"}),
            put(ALICE, "security-groups/{default}", {"description": "Default security group"}),
            get(ADMIN, "security-groups?name=default&project_id={alice}"),
            delete(BOB, "security-groups/{default}"),
        ),
    ),
    Scenario(
        GROUP,
        "several at once",
        (
            post(ALICE, "security-groups", [{"name": "a"}, {"name": "b"}], save="a b"),
            post(ALICE, "security-groups", [{"name": "c"}, {"name": LONG}]),
            post(
                ALICE,
                "security-group-rules",
                [
                    {"security_group_id": "{a}", "direction": "ingress", "protocol": "tcp"},
                    {"security_group_id": "{a}", "direction": "ingress", "protocol": "udp"},
                ],
            ),
            post(
                ALICE,
                "security-group-rules",
                [
                    {"security_group_id": "{a}", "direction": "ingress", "protocol": "ah"},
                    {"security_group_id": "{b}", "direction": "ingress", "protocol": "ah"},
                ],
            ),
            post(
                ALICE,
                "security-group-rules",
                [{"security_group_id": "{b}", "direction": "ingress", "protocol": "esp"}] * 2,
            ),
            get(ALICE, "security-group-rules?security_group_id={b}&fields=protocol&fields=direction"),
        ),
    ),
    Scenario(
        GROUP,
        "groups in use",
        (
            NEW,
            post(ALICE, "networks", {}, save="net"),
            post(ALICE, "ports", {"network_id": "{net}", "security_groups": ["{group}"]}, save="port"),
            delete(ALICE, "security-groups/{group}"),
            put(ALICE, "ports/{port}", {"security_groups": []}),
            delete(ALICE, "security-groups/{group}"),
            post(BOB, "security-groups", {"name": "bobs"}, save="bobs"),
            put(ALICE, "ports/{port}", {"security_groups": ["{bobs}"]}),
            put(ADMIN, "ports/{port}", {"security_groups": ["{bobs}"]}),
            post(ALICE, "security-groups", {"name": "a"}, save="a"),
            post(ALICE, "security-groups", {"name": "b"}, save="b"),
            post(
                ALICE,
                "security-group-rules",
                {"security_group_id": "{a}", "direction": "ingress", "remote_group_id": "{b}"},
            ),
            delete(ALICE, "security-groups/{b}"),
            get(ALICE, "security-groups/{a}"),
        ),
    ),
    Scenario(
        RULE,
        "life of a rule",
        (
            NEW,
            post(ALICE, "security-group-rules", bounds("tcp", 22, 22, remote_ip_prefix="10.0.0.0/8"), save="rule"),
            get(ALICE, "security-group-rules/{rule}"),
            get(ALICE, "security-groups/{group}"),
            post(ALICE, "security-group-rules", bounds("tcp", 22, 22, remote_ip_prefix="10.0.0.0/8")),
            post(ALICE, "security-group-rules", bounds("6", 22, 22, remote_ip_prefix="10.0.0.0/8")),
            post(ALICE, "security-group-rules", bounds("tcp", 22, 22, remote_ip_prefix="10.0.0.9/8")),
            put(ALICE, "security-group-rules/{rule}", {"protocol": "udp"}),
            put(ALICE, "security-group-rules/{rule}", {"description": "d"}),
            get(RITA, "security-group-rules/{rule}"),
            get(BOB, "security-group-rules/{rule}"),
            get(BOB, "security-group-rules?id={rule}"),
            delete(BOB, "security-group-rules/{rule}"),
            delete(RITA, "security-group-rules/{rule}"),
            post(BOB, "security-group-rules", rule(protocol="udp")),
            post(RITA, "security-group-rules", rule(protocol="udp")),
            delete(ALICE, "security-group-rules/{rule}"),
            get(ALICE, "security-group-rules/{rule}"),
            delete(ALICE, "security-group-rules/{rule}"),
        ),
    ),
    Scenario(RULE, "values that are refused", (NEW, *(post(ALICE, "security-group-rules", v) for v in BAD))),
    Scenario(RULE, "values that are taken", (NEW, *(post(ALICE, "security-group-rules", v) for v in GOOD))),
    Scenario(
        RULE,
        "filters",
        (
            NEW,
            post(ALICE, "security-group-rules", bounds("tcp", 22, 22, remote_ip_prefix="10.0.0.0/8"), save="ssh"),
            post(ALICE, "security-group-rules", rule(protocol="udp", remote_group_id="{group}")),
            *(
                get(ALICE, f"security-group-rules?security_group_id={{group}}&fields=protocol&fields=direction&{query}")
                for query in (
                    "direction=egress",
                    "direction=ingress",
                    "protocol=tcp",
                    "protocol=6",
                    "ethertype=IPv4",
                    "ethertype=IPv6",
                    "port_range_min=22",
                    "port_range_min=x",
                    "remote_ip_prefix=10.0.0.0/8",
                    "remote_group_id={group}",
                    "id={ssh}",
                    "description=",
                    "bogus=1",
                )
            ),
        ),
    ),
    Scenario(
        "default security group rule",
        "what new groups start with",
        (
            get(ADMIN, "default-security-group-rules"),
            get(ALICE, "default-security-group-rules"),
            post(ALICE, "default-security-group-rules", {"direction": "ingress", "protocol": "tcp"}),
            post(
                ADMIN,
                "default-security-group-rules",
                starting(protocol="tcp", port_range_min=22, port_range_max=22),
                save="ssh",
            ),
            get(ADMIN, "default-security-group-rules/{ssh}"),
            get(ALICE, "default-security-group-rules/{ssh}"),
            post(ALICE, "security-groups", {"name": "g"}, save="group"),
            post(ADMIN, "default-security-group-rules", starting(remote_group_id="PARENT", protocol="tcp")),
            post(ADMIN, "default-security-group-rules", {"direction": "ingress", "remote_group_id": "x"}),
            post(ADMIN, "default-security-group-rules", {"direction": "x"}),
            post(ADMIN, "default-security-group-rules", {"direction": "ingress", "protocol": "tcp"}),
            post(ADMIN, "default-security-group-rules", {"direction": "ingress", "used_in_default_sg": True}),
            post(ADMIN, "default-security-group-rules", {}),
            post(
                ADMIN,
                "default-security-group-rules",
                starting(protocol="tcp", port_range_min=22, port_range_max=22),
            ),
            put(ADMIN, "default-security-group-rules/{ssh}", {"protocol": "udp"}),
            delete(ALICE, "default-security-group-rules/{ssh}"),
            delete(ADMIN, "default-security-group-rules/{ssh}"),
            get(ADMIN, "default-security-group-rules/{ssh}"),
        ),
    ),
)
