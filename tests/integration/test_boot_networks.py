"""Guests on networks of every kind, seen from inside: addresses, routes, name servers, options, names, guards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cove.compute.guest import GuestFacts, parse_facts

from .console import Console
from .cove_instance import CoveInstance, eventually

pytestmark = pytest.mark.timeout(400)

MTU = 1400
SLAAC, STATELESS, STATEFUL = (
    {"ip_version": 6, "ipv6_ra_mode": mode, "ipv6_address_mode": mode}
    for mode in ("slaac", "dhcpv6-stateless", "dhcpv6-stateful")
)
BOOTFILE = {"opt_name": "bootfile-url", "opt_value": "tftp://[fd00::9]/x", "ip_version": 6}
# Name → the subnets of its network, and what its port is asked to have besides.
GUESTS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "dual": (
        [
            {"cidr": "10.1.0.0/24", "ip_version": 4},
            {"cidr": "fd00:1::/64", **STATEFUL},
            {"cidr": "fd00:2::/64", **SLAAC},
        ],
        {
            "dns_name": "named",
            "extra_dhcp_opts": [
                {"opt_name": "tftp-server", "opt_value": "10.1.0.9"},
                {"opt_name": "150", "opt_value": "10.1.0.8"},
                BOOTFILE,
                {"opt_name": "ntp-server", "opt_value": "fd00:1::7", "ip_version": 6},
            ],
        },
    ),
    "slaac": ([{"cidr": "fd00:3::/64", **SLAAC, "dns_nameservers": ["fd00:3::53"]}], {}),
    "stateless": ([{"cidr": "fd00:4::/64", **STATELESS}], {"dns_name": "less", "extra_dhcp_opts": [BOOTFILE]}),
    "stateful": ([{"cidr": "fd00:5::/64", **STATEFUL}, {"cidr": "fd00:6::/112", **STATEFUL}], {"dns_name": "full"}),
    "routes": (
        [
            {
                "cidr": "10.2.0.0/24",
                "ip_version": 4,
                "host_routes": [{"destination": "10.99.0.0/16", "nexthop": "10.2.0.254"}],
                "dns_nameservers": ["10.2.0.53", "10.2.0.54"],
            },
            {"cidr": "10.3.0.0/24", "ip_version": 4, "gateway_ip": None},
        ],
        {},
    ),
}


class World:
    """A Cove in which all these guests have been booted, at once."""

    def __init__(self, cove: CoveInstance) -> None:
        self.cove = cove
        self.client: httpx.Client = cove.client()
        self.ports: dict[str, dict[str, Any]] = {}
        self.subnets: dict[str, list[dict[str, Any]]] = {}

    def make(self, kind: str, **values: Any) -> dict[str, Any]:
        answer = self.client.post(f"/v2.0/{kind}s", json={kind: values})
        assert answer.status_code == 201, answer.text
        return dict(answer.json()[kind])

    def make_guest(self, name: str) -> None:
        subnets, wishes = GUESTS[name]
        network = self.make("network", name=name, mtu=MTU)
        self.subnets[name] = [self.make("subnet", network_id=network["id"], **subnet) for subnet in subnets]
        self.ports[name] = self.make("port", name=name, network_id=network["id"], **wishes)

    def boot(self, name: str) -> str:
        return self.cove.cove("boot", name, "--port", name, timeout_s=300).stdout

    def server(self, name: str) -> dict[str, Any]:
        return next(
            server for server in self.client.get("/v2.1/servers/detail").json()["servers"] if server["name"] == name
        )

    def facts(self, name: str) -> GuestFacts:
        path = f"/v2.1/servers/{self.server(name)['id']}/action"
        found = parse_facts(self.client.post(path, json={"os-getConsoleOutput": {}}).json()["output"])
        assert found is not None
        return found

    def console(self, name: str) -> Console:
        return Console(self.server(name)["cove:console_socket"])

    def addresses(self, name: str) -> list[str]:
        return [fixed["ip_address"] for fixed in self.ports[name]["fixed_ips"]]

    def dhcp_address(self, name: str, subnet: int) -> str:
        """The address of the DHCP server in a subnet."""
        params = {"device_owner": "network:dhcp", "network_id": self.ports[name]["network_id"]}
        (port,) = self.client.get("/v2.0/ports", params=params).json()["ports"]
        subnet_id = self.subnets[name][subnet]["id"]
        return next(str(fixed["ip_address"]) for fixed in port["fixed_ips"] if fixed["subnet_id"] == subnet_id)


@pytest.fixture(scope="module")
def world(guest_directory: Path) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="cove-test-", dir="/var/tmp", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        cove = CoveInstance(Path(directory), guest_directory)
        try:
            cove.up()
            world = World(cove)
            for name in GUESTS:
                world.make_guest(name)
            with ThreadPoolExecutor(len(GUESTS)) as boots:
                for name, said in zip(GUESTS, boots.map(world.boot, GUESTS), strict=True):
                    for address in world.addresses(name)[:1]:
                        assert address in said
            yield world
        finally:
            cove.close()


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_has_all_the_addresses_of_its_port(world: World, name: str) -> None:
    (nic,) = world.facts(name).nics
    assert nic.mac_address == world.ports[name]["mac_address"]
    assert nic.mtu == MTU
    assert set(nic.ip_addresses) == set(world.addresses(name))
    shown = [entry for entries in world.server(name)["addresses"].values() for entry in entries]
    assert {(entry["addr"], entry["version"]) for entry in shown} == {
        (address, 6 if ":" in address else 4) for address in world.addresses(name)
    }


def test_dual_stack_with_options(world: World) -> None:
    facts = world.facts("dual")
    assert len(facts.nics[0].addresses) == 3
    assert facts.options["tftp"] == "10.1.0.9"
    assert facts.options["opt150"] == "0a010008"
    assert facts.options["hostname"] == "named"
    assert facts.options_6["bootfile_url"] == "tftp://[fd00::9]/x"
    assert facts.options_6["ntp_server_addr"] == "fd00:1::7"
    assert facts.search == ("openstacklocal",)
    assert {world.dhcp_address("dual", subnet) for subnet in range(3)} == set(facts.nameservers)
    assert not [route for route in facts.routes_6 if route.startswith("default")]  # there is no router
    assert {route.split()[0] for route in facts.routes_6} >= {"fd00:1::/64", "fd00:2::/64"}


def test_names_are_found_from_inside(world: World) -> None:
    four, stateful, made = sorted(world.addresses("dual"), key=lambda address: (":" in address, address))
    with world.console("dual") as console:
        for server in (world.dhcp_address("dual", 0), world.dhcp_address("dual", 1)):
            _, said = console.run(f"nslookup named.openstacklocal {server}")
            assert {four, stateful, made} <= set(said.split()), said
        for address in (four, stateful, made):
            _, said = console.run(f"nslookup {address}")
            assert "named.openstacklocal" in said, said


def test_slaac_alone(world: World) -> None:
    facts = world.facts("slaac")
    assert facts.nameservers == ("fd00:3::53",)
    assert facts.search == ("openstacklocal",)
    assert facts.options == facts.options_6 == {}
    with world.console("slaac") as console:
        code, said = console.run(f"ping -c 1 -W 10 {world.dhcp_address('slaac', 0)}")
        assert code == 0, said


def test_stateless(world: World) -> None:
    facts = world.facts("stateless")
    assert facts.options_6["bootfile_url"] == "tftp://[fd00::9]/x"
    assert facts.options_6["name_servers"] == facts.nameservers[0] == world.dhcp_address("stateless", 0)
    assert facts.nics[0].addresses == (f"{world.addresses('stateless')[0]}/64",)


def test_stateful(world: World) -> None:
    facts = world.facts("stateful")
    assert set(facts.nics[0].addresses) == {f"{address}/128" for address in world.addresses("stateful")}
    assert facts.options_6["fqdn"] == "full.openstacklocal"
    assert {"fd00:5::/64", "fd00:6::/112"} <= {route.split()[0] for route in facts.routes_6}


def test_two_subnets_and_host_routes(world: World) -> None:
    facts = world.facts("routes")
    (address,) = facts.nics[0].ip_addresses
    if address.startswith("10.2."):
        assert facts.nameservers == ("10.2.0.53", "10.2.0.54")
        assert "10.99.0.0/16 via 10.2.0.254 dev eth0 " in [f"{route} " for route in facts.routes]
        assert any(route.startswith("default via 10.2.0.1 ") for route in facts.routes)
    other = "10.3.0.0/24" if address.startswith("10.2.") else "10.2.0.0/24"
    assert any(route.startswith(f"{other} dev eth0") for route in facts.routes)
    assert world.addresses("routes") == [address]
    with world.console("routes") as console:
        # The server's address in the other subnet is on the same link, and is reached as such.
        for subnet in (0, 1):
            code, said = console.run(f"ping -c 1 -W 10 {world.dhcp_address('routes', subnet)}")
            assert code == 0, said


def test_a_guest_is_what_its_port_says_also_after_a_change(world: World) -> None:
    """Another's address does not get out, until the port is allowed it; so for both IP versions."""
    port = world.ports["dual"]
    four, six = "10.1.0.77", "fd00:1::77"
    servers = {four: world.dhcp_address("dual", 0), six: world.dhcp_address("dual", 1)}
    with world.console("dual") as console:
        for address, prefix in ((four, 24), (six, 64)):
            assert console.run(f"ip addr add {address}/{prefix} dev eth0")[0] == 0

        def reaches(address: str) -> bool:
            return console.run(f"ping -c 1 -W 1 -I {address} {servers[address]}")[0] == 0

        assert console.run(f"ping -c 1 -W 10 {servers[four]}")[0] == 0
        assert not reaches(four)
        assert not reaches(six)
        pairs = [{"ip_address": "10.1.0.64/26"}, {"ip_address": six}]
        answer = world.client.put(f"/v2.0/ports/{port['id']}", json={"port": {"allowed_address_pairs": pairs}})
        assert answer.status_code == 200, answer.text
        eventually(lambda: reaches(four), 20, "the pair is in force")
        eventually(lambda: reaches(six), 20, "the pair is in force")
        world.client.put(f"/v2.0/ports/{port['id']}", json={"port": {"allowed_address_pairs": []}})
        eventually(lambda: not reaches(six), 20, "the pair is no longer in force")


def test_a_subnet_that_comes_later(world: World) -> None:
    """Its advertisement reaches a guest that runs, and the address that it makes of it is its own."""
    port = world.ports["slaac"]
    world.subnets["slaac"].append(world.make("subnet", network_id=port["network_id"], cidr="fd00:7::/64", **SLAAC))
    world.ports["slaac"] = world.client.get(f"/v2.0/ports/{port['id']}").json()["port"]
    (address,) = [found for found in world.addresses("slaac") if found.startswith("fd00:7:")]
    eventually(lambda: address in world.facts("slaac").nics[0].ip_addresses, 60, "the guest has the address")
    with world.console("slaac") as console:
        command = f"ping -c 1 -W 1 -I {address} {world.dhcp_address('slaac', 1)}"
        eventually(lambda: console.run(command)[0] == 0, 20, "it may use it")


def test_a_guest_that_starts_again_has_its_addresses_again(world: World) -> None:
    world.cove.cove("server", "stop", "stateful", timeout_s=120)
    said = world.cove.cove("server", "start", "stateful", timeout_s=240).stdout
    assert "DHCPREPLY" in said
    assert set(world.facts("stateful").nics[0].ip_addresses) == set(world.addresses("stateful"))
