"""Calls about ports."""

from __future__ import annotations

from typing import Any

from .calls import ADMIN, ALICE, BOB, MARA, RITA, Call, Scenario, delete, get, post, put
from .networks import LONG, NOWHERE

GROUP = "port"
NETWORK = post(ALICE, "networks", {}, save="net")
POOLS = [{"start": "10.1.0.128", "end": "10.1.0.250"}]
"""Where the server chooses from: never what another call asks for, so that nothing depends on chance."""
SUBNET = post(
    ALICE,
    "subnets",
    {"network_id": "{net}", "ip_version": 4, "cidr": "10.1.0.0/24", "allocation_pools": POOLS},
    save="sub",
)
SLAAC_MODES = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
STATEFUL_MODES = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"}
MAC = "fa:16:3e:11:22:33"


def port(**values: Any) -> dict[str, Any]:
    """A port on the network."""
    return {"network_id": "{net}", **values}


def fixed(*ips: dict[str, Any]) -> dict[str, Any]:
    """A port with these addresses."""
    return port(fixed_ips=list(ips))


BAD: tuple[dict[str, Any], ...] = (
    fixed(*({"ip_address": f"10.1.0.{n}"} for n in range(10, 20))),  # first, while all addresses are free
    {},
    {"network_id": NOWHERE},
    {"network_id": "x"},
    {"network_id": None},
    port(name=5),
    port(name=LONG),
    port(description=LONG),
    port(admin_state_up="x"),
    port(admin_state_up=None),
    port(mac_address="x"),
    port(mac_address=""),
    port(mac_address="00:00:00:00:00:00"),
    port(mac_address="01:00:5e:00:00:01"),
    port(mac_address="ff:ff:ff:ff:ff:ff"),
    port(device_id=LONG),
    port(device_id=5),
    port(device_id=None),
    port(device_owner=LONG),
    port(device_owner=5),
    port(fixed_ips="x"),
    port(fixed_ips=None),
    port(fixed_ips={}),
    port(fixed_ips=["x"]),
    fixed({}),
    fixed({"ip_address": "x"}),
    fixed({"ip_address": "10.9.0.1"}),
    fixed({"ip_address": "10.1.0.0"}),
    fixed({"ip_address": "10.1.0.255"}),
    fixed({"ip_address": "fd00::1"}),
    fixed({"ip_address": "10.1.0.1"}),
    fixed({"subnet_id": "x"}),
    fixed({"subnet_id": NOWHERE}),
    fixed({"subnet_id": NOWHERE, "ip_address": "10.1.0.5"}),
    fixed({"subnet_id": "{sub}", "ip_address": "10.9.0.5"}),
    fixed({"subnet_id": "{sub}", "ip_address": "x"}),
    fixed({"subnet": "{sub}"}),
    fixed({"ip_address": "10.1.0.5"}, {"ip_address": "10.1.0.5"}),
    fixed({"ip_address": "10.1.0.5", "more": 1}),
    port(security_groups="x"),
    port(security_groups=["x"]),
    port(security_groups=[NOWHERE]),
    port(allowed_address_pairs="x"),
    port(allowed_address_pairs=["x"]),
    port(allowed_address_pairs=[{}]),
    port(allowed_address_pairs=[{"ip_address": "x"}]),
    port(allowed_address_pairs=[{"ip_address": "10.1.0.5/33"}]),
    port(allowed_address_pairs=[{"ip_address": "224.0.0.1"}]),
    port(allowed_address_pairs=[{"mac_address": MAC}]),
    port(allowed_address_pairs=[{"ip_address": "10.1.0.5", "mac_address": "x"}]),
    port(allowed_address_pairs=[{"ip_address": "10.1.0.5", "more": 1}]),
    port(allowed_address_pairs=[{"ip_address": "10.1.0.5"}, {"ip_address": "10.1.0.5"}]),
    port(allowed_address_pairs=[{"ip_address": f"10.1.0.{n}"} for n in range(5, 20)]),
    port(allowed_address_pairs=[{"ip_address": "10.1.0.5"}], port_security_enabled=False),
    port(extra_dhcp_opts="x"),
    port(extra_dhcp_opts=[{"opt_name": "x"}]),
    port(extra_dhcp_opts=[{"opt_value": "x"}]),
    port(extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": ""}]),
    port(extra_dhcp_opts=[{"opt_name": "", "opt_value": "1"}]),
    port(extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": "1", "ip_version": 5}]),
    port(extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": 1}]),
    port(extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": "1", "more": 1}]),
    port(extra_dhcp_opts=[{"opt_name": "a\nb", "opt_value": "1"}]),
    port(extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": "1"}, {"opt_name": "mtu", "opt_value": "2"}]),
    port(port_security_enabled="x"),
    port(port_security_enabled=False, security_groups=["{group}"]),
    port(dns_name="not good"),
    port(dns_name="x" * 64),
    port(dns_name="a.b"),
    port(dns_name=5),
    port(dns_domain="example.org"),
    port(propagate_uplink_status="x"),
    port(tenant_id="{bob}"),
    port(tenant_id=5),
    port(id=NOWHERE),
    port(status="ACTIVE"),
    port(tags=[5]),
    port(bogus=1),
    {"network_id": "{net}", "binding:vnic_type": "x"},
    {"network_id": "{net}", "binding:profile": "x"},
    {"network_id": "{net}", "binding:profile": {"a": 1}},
    {"network_id": "{net}", "binding:host_id": "host-a"},
    {"network_id": "{net}", "binding:vif_type": "ovs"},
    {"network_id": "{net}", "qos_policy_id": NOWHERE},
)
GOOD: tuple[dict[str, Any], ...] = (
    port(),
    port(name="p", description="d"),
    port(admin_state_up=False),
    port(mac_address=MAC),
    port(mac_address=MAC.upper()),
    port(mac_address=MAC.replace(":", "-")),
    port(mac_address=None),
    port(device_id="vm-1"),
    port(device_owner="compute:nova"),
    port(device_id="vm-1", device_owner="compute:nova"),
    port(device_owner="network:router_interface"),
    port(device_owner="network:dhcp"),
    port(fixed_ips=[]),
    fixed({"ip_address": "10.1.0.40"}),
    fixed({"subnet_id": "{sub}"}),
    fixed({"subnet_id": "{sub}", "ip_address": "10.1.0.41"}),
    fixed({"ip_address": "10.1.0.42"}, {"ip_address": "10.1.0.43"}),
    fixed({"subnet_id": "{sub}"}, {"subnet_id": "{sub}"}),
    fixed(*({"ip_address": f"10.1.0.{n}"} for n in range(50, 55))),
    port(security_groups=[]),
    port(security_groups=None),
    port(security_groups=["{group}"]),
    port(security_groups=["{group}", "{group}"]),
    port(allowed_address_pairs=[]),
    port(allowed_address_pairs=None),
    port(allowed_address_pairs=[{"ip_address": "10.1.0.5"}]),
    port(allowed_address_pairs=[{"ip_address": "10.5.0.0/16"}]),
    port(allowed_address_pairs=[{"ip_address": "10.1.0.5", "mac_address": MAC}]),
    port(allowed_address_pairs=[{"ip_address": "fd00::/64"}, {"ip_address": "10.1.0.5"}]),
    port(allowed_address_pairs=[{"ip_address": "0.0.0.0/0"}]),
    port(extra_dhcp_opts=[]),
    port(extra_dhcp_opts=None),
    port(extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": "1400"}]),
    port(extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": "1400", "ip_version": 4}]),
    port(extra_dhcp_opts=[{"opt_name": "dns-server", "opt_value": "fd00::5", "ip_version": 6}]),
    port(extra_dhcp_opts=[{"opt_name": "dns-server", "opt_value": "fd00::5", "ip_version": "6"}]),
    port(extra_dhcp_opts=[{"opt_name": "bootfile-name", "opt_value": "a"}, {"opt_name": "mtu", "opt_value": "1400"}]),
    port(extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": None}]),
    port(port_security_enabled=False),
    port(port_security_enabled=False, security_groups=[]),
    port(dns_name="vm"),
    port(dns_name="VM-1"),
    port(dns_name="vm.cove.test."),
    port(dns_name="vm.cove.test"),
    port(dns_name=""),
    port(dns_domain="example.org."),
    port(dns_name="vm", dns_domain="example.org."),
    port(propagate_uplink_status=False),
    port(tenant_id="{alice}"),
    port(tags=["b", "a"]),
    {"network_id": "{net}", "binding:vnic_type": "direct"},
    {"network_id": "{net}", "binding:vnic_type": "normal"},
)
ADMINS: tuple[dict[str, Any], ...] = (
    port(),
    {"network_id": "{net}", "binding:host_id": "host-a"},
    {"network_id": "{net}", "binding:host_id": "host-a", "device_id": "vm", "device_owner": "compute:nova"},
    {"network_id": "{net}", "binding:host_id": "nowhere"},
    {"network_id": "{net}", "binding:host_id": ""},
    {"network_id": "{net}", "binding:host_id": None},
    {"network_id": "{net}", "binding:profile": {"a": 1}},
    {"network_id": "{net}", "binding:profile": {}},
    {"network_id": "{net}", "binding:profile": None},
    {"network_id": "{net}", "binding:profile": "x"},
    port(project_id="{bob}"),
    port(project_id="{alice}"),
    port(project_id=""),
    {"network_id": "{net}", "binding:vnic_type": "direct", "binding:host_id": "host-a"},
)
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"name": "b"},
    {"description": "d"},
    {"admin_state_up": False},
    {"device_id": "vm"},
    {"device_owner": "compute:nova"},
    {"device_id": "vm-2", "device_owner": "compute:other"},
    {"device_owner": ""},
    {"mac_address": MAC},
    {"mac_address": "x"},
    {"fixed_ips": [{"ip_address": "10.1.0.60"}]},
    {"fixed_ips": [{"subnet_id": "{sub}"}]},
    {"fixed_ips": [{"subnet_id": "{sub}"}, {"subnet_id": "{sub}", "ip_address": "10.1.0.61"}]},
    {"fixed_ips": [{"ip_address": "10.1.0.1"}]},
    {"fixed_ips": [{"ip_address": "10.9.0.1"}]},
    {"fixed_ips": [{"subnet_id": NOWHERE}]},
    {"fixed_ips": []},
    {"fixed_ips": None},
    {"security_groups": ["{group}"]},
    {"security_groups": []},
    {"security_groups": None},
    {"security_groups": [NOWHERE]},
    {"allowed_address_pairs": [{"ip_address": "10.1.0.70"}]},
    {"allowed_address_pairs": [{"ip_address": "x"}]},
    {"port_security_enabled": False},
    {"allowed_address_pairs": []},
    {"port_security_enabled": False},
    {"allowed_address_pairs": [{"ip_address": "10.1.0.70"}]},
    {"security_groups": ["{group}"]},
    {"port_security_enabled": True},
    {"port_security_enabled": False, "security_groups": []},
    {"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1300"}]},
    {"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1200"}, {"opt_name": "bootfile-name", "opt_value": "b"}]},
    {"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": None}]},
    {"extra_dhcp_opts": []},
    {"dns_name": "vm"},
    {"dns_name": "not good"},
    {"dns_domain": "example.net."},
    {"dns_name": ""},
    {"propagate_uplink_status": False},
    {"network_id": "{net}"},
    {"tenant_id": "{alice}"},
    {"tenant_id": "{bob}"},
    {"status": "ACTIVE"},
    {"id": NOWHERE},
    {"binding:vnic_type": "direct"},
    {"binding:vnic_type": "normal"},
    {"binding:host_id": "host-a"},
    {"binding:host_id": ""},
    {"binding:profile": {"a": 1}},
    {"binding:profile": {}},
    {"name": 5},
    {"bogus": 1},
)


def each(values: tuple[dict[str, Any], ...], who: str) -> tuple[Call, ...]:
    """With each of the values a port, which goes before the next comes."""
    calls = [NETWORK, SUBNET, post(ALICE, "security-groups", {"name": "g"}, save="group")]
    for number, one in enumerate(values):
        calls += [post(who, "ports", one, save=f"port{number}"), delete(who, f"ports/{{port{number}}}")]
    return tuple(calls)


def changed(who: str) -> tuple[Call, ...]:
    """A port of Alice's, and each of the changes."""
    return (
        NETWORK,
        SUBNET,
        post(ALICE, "security-groups", {"name": "g"}, save="group"),
        post(ALICE, "ports", port(), save="port"),
        *(put(who, "ports/{port}", change) for change in CHANGES),
    )


SCENARIOS = (
    Scenario(
        GROUP,
        "life of a port",
        (
            NETWORK,
            SUBNET,
            post(ALICE, "ports", port(), save="port"),
            get(ALICE, "ports/{port}"),
            get(ALICE, "ports?id={port}"),
            get(ADMIN, "ports/{port}"),
            get(RITA, "ports/{port}"),
            get(MARA, "ports/{port}"),
            get(BOB, "ports/{port}"),
            get(BOB, "ports?id={port}"),
            put(ALICE, "ports/{port}", {"name": "renamed"}),
            put(RITA, "ports/{port}", {"name": "mine"}),
            put(BOB, "ports/{port}", {"name": "mine"}),
            delete(RITA, "ports/{port}"),
            delete(BOB, "ports/{port}"),
            delete(ALICE, "ports/{port}"),
            get(ALICE, "ports/{port}"),
            put(ALICE, "ports/{port}", {"name": "gone"}),
            delete(ALICE, "ports/{port}"),
            post(RITA, "ports", port()),
            post(BOB, "ports", port()),
        ),
    ),
    Scenario(
        GROUP,
        "values that are refused",
        (
            NETWORK,
            SUBNET,
            post(ALICE, "security-groups", {"name": "g"}, save="group"),
            *(post(ALICE, "ports", values) for values in BAD),
        ),
    ),
    Scenario(GROUP, "values that are taken", each(GOOD, ALICE)),
    Scenario(GROUP, "as the administrator", each(ADMINS, ADMIN)),
    Scenario(GROUP, "changes by the owner", changed(ALICE)),
    Scenario(GROUP, "changes by the administrator", changed(ADMIN)),
)
