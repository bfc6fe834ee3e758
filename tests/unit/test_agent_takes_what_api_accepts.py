"""Whatever the API accepts of a port's names and options, the DHCP agent takes, and dnsmasq reads as meant."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cove.dhcp.drivers import hostfiles
from cove.dhcp.models import SubnetInfo, decode_port
from cove.network import validators
from cove.network.ports import DNS_NAME_LENGTH_MAX, dns_assignment, full_name

SUBNET = str(uuid.uuid4())
SUBNETS = {SUBNET: SubnetInfo(SUBNET, str(uuid.uuid4()), "10.0.0.0/24")}
SPICE = st.sampled_from(
    ["tag:", "!", ",", "client-id", "61", "router", "ignore", "10.0.0.7", "24h", ".", "\n", "-", "ü"]
)


def spiced(alphabet: str) -> st.SearchStrategy[str]:
    return st.lists(SPICE | st.text(alphabet, max_size=3), max_size=5).map("".join)


@given(spiced("ab1-_:. "), spiced('ab1-_:., "'), spiced("ab1-."), st.sampled_from(["openstacklocal", ""]))
def test_accepted_ports_are_taken(name: str, value: str, dns_name: str, domain: str) -> None:
    port: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "network_id": str(uuid.uuid4()),
        "mac_address": "fa:16:3e:00:00:01",
    }
    port["fixed_ips"] = [{"subnet_id": SUBNET, "ip_address": "10.0.0.5"}]
    try:
        port["extra_dhcp_opts"] = validators.extra_dhcp_opts([{"opt_name": name, "opt_value": value}])
    except ValueError:
        port["extra_dhcp_opts"] = []
    try:
        checked = validators.dns_name(dns_name)
    except ValueError:
        checked = ""
    if len(full_name(checked, domain)) > DNS_NAME_LENGTH_MAX:
        checked = ""
    port["dns_assignment"] = dns_assignment(checked, port["fixed_ips"], domain)
    taken = decode_port(port)
    (entry,) = hostfiles.port_entries(taken, SUBNETS, domain).hosts
    for line in (entry.host_line, entry.reservation):
        fields = [f for f in line.split(",") if not f.startswith(("set:", "id:"))]
        assert fields[0] == "fa:16:3e:00:00:01"
        assert fields[-1] == "10.0.0.5"
        assert len(fields) <= 3
        assert not any(hostfiles._TAKEN_FOR_ANOTHER.fullmatch(field) for field in fields[1:-1])
        assert "\n" not in line


def test_the_form_of_a_reservation() -> None:
    port = {
        "id": str(uuid.uuid4()),
        "network_id": str(uuid.uuid4()),
        "mac_address": "fa:16:3e:00:00:01",
        "fixed_ips": [{"subnet_id": SUBNET, "ip_address": "10.0.0.5"}],
    }
    for name, form in {"": "", "vm": "", "vm.example.org.": "vm.example.org,", "a.b": "a.b.openstacklocal,"}.items():
        port["dns_assignment"] = dns_assignment(name, port["fixed_ips"], "openstacklocal")  # type: ignore[arg-type]
        (entry,) = hostfiles.port_entries(decode_port(port), SUBNETS, "openstacklocal").hosts
        assert entry.reservation == f"fa:16:3e:00:00:01,{form}10.0.0.5"
