"""openstacksdk: every call of its Network service for networks and DHCP, on both engines.

A table says what each kind of object is made of and changed to; the tests do with all kinds what can be done with all:
create, get, find, list by each of its attributes, pages, order, update, revisions, tags, delete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .cloud import Cloud
from .conformance.calls import PROJECTS

# what the SDK will drop one day is its users' business
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

Connection = Any
Kept = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: the name in the SDK's methods, how to create one with a name, and what can be changed."""

    singular: str
    plural: str
    create: Callable[[Kept, str], dict[str, Any]]
    change: Mapping[str, Any]
    filters: tuple[str, ...]
    """Attributes of the SDK by which a list is asked for, with an object's own value."""
    user: str = "alice"
    tags: bool = True
    revisions: bool = True
    named: bool = True
    sorts: bool = True


def _cidr(name: str) -> str:
    return f"10.{sum(name.encode()) % 200}.{ord(name[-1])}.0/24"


KINDS = (
    Kind(
        "network",
        "networks",
        lambda kept, name: {"name": name, "mtu": 1400, "description": f"of {name}", "dns_domain": "example.org."},
        {"name": "renamed", "description": "changed", "mtu": 1300, "is_admin_state_up": False},
        ("name", "description", "mtu", "is_admin_state_up", "status", "project_id", "is_port_security_enabled",
         "is_shared", "is_router_external"),
    ),
    Kind(
        "subnet",
        "subnets",
        lambda kept, name: {"name": name, "network_id": kept["network"], "ip_version": 4, "cidr": _cidr(name)},
        {"name": "renamed", "dns_nameservers": ["9.9.9.9"], "is_dhcp_enabled": False},
        ("name", "network_id", "ip_version", "cidr", "gateway_ip", "is_dhcp_enabled", "project_id", "description"),
    ),
    Kind(
        "port",
        "ports",
        lambda kept, name: {"name": name, "network_id": kept["network"], "device_id": f"vm-{name}"},
        {"name": "renamed", "device_owner": "compute:x", "is_admin_state_up": False},
        ("name", "network_id", "device_id", "mac_address", "is_admin_state_up", "project_id", "description"),
    ),
    Kind(
        "subnet_pool",
        "subnet_pools",
        lambda kept, name: {"name": name, "prefixes": [_cidr(name)], "default_prefix_length": 26},
        {"name": "renamed", "default_prefix_length": 27, "description": "changed"},
        ("name", "default_prefix_length", "minimum_prefix_length", "maximum_prefix_length", "ip_version", "is_shared",
         "is_default", "project_id", "description"),
        revisions=False,
    ),
    Kind(
        "address_scope",
        "address_scopes",
        lambda kept, name: {"name": name, "ip_version": 4},
        {"name": "renamed"},
        ("name", "ip_version", "project_id", "is_shared"),
        tags=False,
        revisions=False,
    ),
    Kind(
        "security_group",
        "security_groups",
        lambda kept, name: {"name": name, "description": f"of {name}"},
        {"name": "renamed", "description": "changed"},
        ("name", "description", "project_id"),
    ),
    Kind(
        "security_group_rule",
        "security_group_rules",
        lambda kept, name: {
            "security_group_id": kept["group"],
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": ord(name[-1]),
            "port_range_max": ord(name[-1]),
            "ether_type": "IPv4",
        },
        {},
        ("direction", "protocol", "ether_type", "port_range_min", "port_range_max", "security_group_id", "project_id"),
        tags=False,
        revisions=False,
        named=False,
    ),
    Kind(
        "rbac_policy",
        "rbac_policies",
        lambda kept, name: {
            "object_type": "network",
            "object_id": kept["network"],
            "action": "access_as_shared",
            "target_project_id": f"{sum(name.encode()):032x}",
        },
        {"target_project_id": "a" * 32},
        ("object_type", "object_id", "action", "target_project_id", "project_id"),
        user="admin",
        tags=False,
        revisions=False,
        named=False,
        sorts=False,  # the SDK has no words for it
    ),
)  # fmt: skip

kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.singular)


@dataclass(slots=True)
class Sdk:
    """Connections of the users."""

    cloud: Cloud
    connections: dict[str, Connection] = field(default_factory=dict)

    def __call__(self, user: str) -> Connection:
        """The user's connection."""
        import openstack

        if user not in self.connections:
            self.connections[user] = openstack.connection.Connection(
                auth={
                    "auth_url": self.cloud.auth_url,
                    "username": user,
                    "password": self.cloud.passwords[user],
                    "project_name": PROJECTS[user],
                    "user_domain_name": "Default",
                    "project_domain_name": "Default",
                },
                region_name="RegionOne",
                identity_api_version="3",
                app_name="cove-tests",
            )
        return self.connections[user]


@pytest.fixture(scope="module")
def connections(engine_cloud: Cloud, peers: Path) -> Iterator[Sdk]:
    made = Sdk(engine_cloud)
    yield made
    for connection in made.connections.values():
        connection.close()


@pytest.fixture
def sdk(connections: Sdk) -> Sdk:
    """With an empty cloud."""
    connections.cloud.clear()
    return connections


@pytest.fixture
def kept(sdk: Sdk) -> Kept:
    """What other objects need."""
    network = sdk("alice").network
    return {
        "network": network.create_network(name="net-for-all").id,
        "group": network.create_security_group(name="group-for-all").id,
    }


def call(sdk: Sdk, kind: Kind, verb: str, *arguments: Any, **values: Any) -> Any:
    """`create_port(...)` and so on, as the kind's user."""
    return getattr(sdk(kind.user).network, f"{verb}_{kind.singular}")(*arguments, **values)


def several(sdk: Sdk, kind: Kind, **query: Any) -> list[Any]:
    """`ports(...)` and so on."""
    return list(getattr(sdk(kind.user).network, kind.plural)(**query))


def three(sdk: Sdk, kind: Kind, kept: Kept) -> list[Any]:
    """Objects named a, b and c."""
    return [call(sdk, kind, "create", **kind.create(kept, f"{kind.singular}-{letter}")) for letter in "abc"]


@kinds
def test_create_get_find_delete(sdk: Sdk, kept: Kept, kind: Kind) -> None:
    values = kind.create(kept, "one")
    made = call(sdk, kind, "create", **values)
    assert {name: made[name] for name in values} == values
    got = call(sdk, kind, "get", made.id)
    assert _settled(got) == _settled(made)
    assert call(sdk, kind, "find", made.id).id == made.id
    if kind.named:
        assert call(sdk, kind, "find", "one").id == made.id
    assert call(sdk, kind, "find", "not-there") is None
    call(sdk, kind, "delete", made.id, ignore_missing=False)
    assert call(sdk, kind, "find", made.id) is None
    with pytest.raises(_exceptions().NotFoundException):
        call(sdk, kind, "get", made.id)
    with pytest.raises(_exceptions().NotFoundException):
        call(sdk, kind, "delete", made.id, ignore_missing=False)


def _settled(item: Any) -> dict[str, Any]:
    """All but what an agent may have changed meanwhile: that a port is ACTIVE now."""
    moving = {"location", "revision_number", "status", "updated_at"}
    return {name: value for name, value in item.to_dict().items() if name not in moving}


def _exceptions() -> Any:
    from openstack import exceptions

    return exceptions


@kinds
def test_lists_by_each_attribute(sdk: Sdk, kept: Kept, kind: Kind) -> None:
    objects = three(sdk, kind, kept)
    for name in kind.filters:
        value = objects[1][name]
        wanted = {item.id for item in objects if item[name] == value}
        found = {item.id for item in several(sdk, kind, **{name: value})}
        assert wanted <= found, f"{kind.plural}({name}={value!r})"
        assert not found & ({item.id for item in objects} - wanted), f"{kind.plural}({name}={value!r})"


@kinds
def test_pages_and_order(sdk: Sdk, kept: Kept, kind: Kind) -> None:
    three(sdk, kind, kept)
    everything = [item.id for item in several(sdk, kind)]
    assert sorted(everything) == sorted(item.id for item in several(sdk, kind, limit=1))
    if not kind.sorts:
        return
    assert sorted(everything) == sorted(item.id for item in several(sdk, kind, limit=2, sort_key="id"))
    for direction in ("asc", "desc"):
        in_order = [item.id for item in several(sdk, kind, sort_key="id", sort_dir=direction)]
        assert in_order == sorted(everything, reverse=direction == "desc")
    first = several(sdk, kind, sort_key="id", limit=1, paginated=False)
    assert [item.id for item in first] == sorted(everything)[:1]
    after = several(sdk, kind, sort_key="id", limit=100, marker=first[0].id, paginated=False)
    assert [item.id for item in after] == sorted(everything)[1:]


@kinds
def test_update(sdk: Sdk, kept: Kept, kind: Kind) -> None:
    made = call(sdk, kind, "create", **kind.create(kept, "one"))
    if not kind.change:
        return
    changed = call(sdk, kind, "update", made, **kind.change)
    assert {name: changed[name] for name in kind.change} == dict(kind.change)
    got = call(sdk, kind, "get", made.id)
    assert {name: got[name] for name in kind.change} == dict(kind.change)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.revisions], ids=lambda kind: kind.singular)
def test_revisions(sdk: Sdk, kept: Kept, kind: Kind) -> None:
    made = call(sdk, kind, "create", **kind.create(kept, "one"))
    made = call(sdk, kind, "update", made.id, description="so that nothing is under way")
    changed = call(sdk, kind, "update", made.id, if_revision=made.revision_number, name="renamed")
    assert changed.revision_number > made.revision_number
    with pytest.raises(_exceptions().PreconditionFailedException):
        call(sdk, kind, "update", made.id, if_revision=made.revision_number, name="again")
    with pytest.raises(_exceptions().PreconditionFailedException):
        call(sdk, kind, "delete", made.id, if_revision=made.revision_number)
    call(sdk, kind, "delete", made.id, if_revision=call(sdk, kind, "get", made.id).revision_number)
    assert call(sdk, kind, "find", made.id) is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.tags], ids=lambda kind: kind.singular)
def test_tags(sdk: Sdk, kept: Kept, kind: Kind) -> None:
    network = sdk(kind.user).network
    one, two, _ = three(sdk, kind, kept)
    network.set_tags(one, ["red", "blue"])
    network.set_tags(two, ["red"])
    assert sorted(network.get_tags(one)) == ["blue", "red"]
    assert sorted(call(sdk, kind, "get", one.id).tags) == ["blue", "red"]
    ids = {letter: item.id for letter, item in (("one", one), ("two", two))}

    def tagged(**query: str) -> set[str]:
        return {item.id for item in several(sdk, kind, **query)} & set(ids.values())

    assert tagged(tags="red,blue") == {ids["one"]}
    assert tagged(any_tags="blue,green") == {ids["one"]}
    assert tagged(not_tags="red,blue") == {ids["two"]}
    assert tagged(not_any_tags="blue") == {ids["two"]}
    call(sdk, kind, "get", one.id).add_tag(network, "green")
    assert call(sdk, kind, "get", one.id).check_tag(network, "green")
    call(sdk, kind, "get", one.id).remove_tag(network, "green")
    network.remove_all_tags(one)
    assert call(sdk, kind, "get", one.id).tags == []


@kinds
def test_a_stranger_finds_nothing(sdk: Sdk, kept: Kept, kind: Kind) -> None:
    made = call(sdk, kind, "create", **kind.create(kept, "one"))
    stranger = sdk("bob").network
    assert getattr(stranger, f"find_{kind.singular}")(made.id) is None
    assert made.id not in {item.id for item in getattr(stranger, kind.plural)()}
    with pytest.raises(_exceptions().NotFoundException):
        getattr(stranger, f"get_{kind.singular}")(made.id)
    with pytest.raises(_exceptions().NotFoundException):
        getattr(stranger, f"delete_{kind.singular}")(made.id, ignore_missing=False)


def test_bulk(sdk: Sdk, kept: Kept) -> None:
    network = sdk("alice").network
    ports = list(network.create_ports([{"network_id": kept["network"], "name": name} for name in "abc"]))
    assert [port.name for port in ports] == ["a", "b", "c"]
    rules = list(
        network.create_security_group_rules(
            [
                {"security_group_id": kept["group"], "direction": "ingress", "protocol": protocol, "ethertype": "IPv4"}
                for protocol in ("tcp", "udp")
            ]
        )
    )
    assert [rule.protocol for rule in rules] == ["tcp", "udp"]


def test_addresses_of_ports(sdk: Sdk, kept: Kept) -> None:
    network = sdk("alice").network
    subnet = network.create_subnet(network_id=kept["network"], ip_version=4, cidr="10.5.0.0/24")
    port = network.create_port(network_id=kept["network"], fixed_ips=[{"ip_address": "10.5.0.9"}])
    assert [found.id for found in network.get_subnet_ports(subnet.id)] == [port.id]
    assert [found.id for found in network.ports(fixed_ips="ip_address=10.5.0.9")] == [port.id]
    port = network.update_port(port, fixed_ips=[*port.fixed_ips, {"subnet_id": subnet.id, "ip_address": "10.5.0.10"}])
    assert [ip["ip_address"] for ip in port.fixed_ips] == ["10.5.0.9", "10.5.0.10"]
    shown = sdk("admin").network.get_network_ip_availability(kept["network"])
    assert (shown.network_name, shown.total_ips, shown.used_ips) == ("net-for-all", 253, 2)
    assert [found.network_id for found in sdk("admin").network.network_ip_availabilities(network_name="net-for-all")]


def test_agents(sdk: Sdk, kept: Kept) -> None:
    network = sdk("admin").network
    (agent,) = network.agents(agent_type="DHCP agent")
    assert (agent.host, agent.is_alive, agent.is_admin_state_up) == ("host-a", True, True)
    assert network.get_agent(agent.id).configuration == agent.configuration
    network.update_agent(agent, description="here")
    assert network.get_agent(agent.id).description == "here"
    target = network.get_network(kept["network"])
    network.add_dhcp_agent_to_network(agent, target)
    assert [found.id for found in network.network_hosting_dhcp_agents(target)] == [agent.id]
    assert target.id in [found.id for found in network.dhcp_agent_hosting_networks(agent)]
    network.remove_dhcp_agent_from_network(agent, target)
    assert list(network.network_hosting_dhcp_agents(target)) == []
    assert list(sdk("alice").network.agents()) == []


def test_zones_extensions_providers(sdk: Sdk) -> None:
    network = sdk("alice").network
    assert [(zone.name, zone.state, zone.resource) for zone in sdk("admin").network.availability_zones()] == [
        ("nova", "available", "network")
    ]
    aliases = {extension.alias for extension in network.extensions()}
    assert {"security-group", "quotas", "rbac-policies", "dhcp_agent_scheduler"} <= aliases
    assert network.find_extension("security-group").alias == "security-group"
    assert network.find_extension("router") is None
    assert "router" not in aliases
    assert list(network.service_providers()) == []


def test_quotas(sdk: Sdk) -> None:
    project = sdk.cloud.projects["alice"]
    admin, alice = sdk("admin").network, sdk("alice").network
    default = alice.get_quota_default(project)
    assert alice.get_quota(project).networks == default.networks == 100
    admin.update_quota(project, networks=1, ports=2)
    assert (alice.get_quota(project).networks, alice.get_quota(project).ports) == (1, 2)
    assert project in {quota.project_id for quota in admin.quotas()}
    alice.create_network(name="one")
    details = alice.get_quota(project, details=True)
    assert (details.networks["limit"], details.networks["used"]) == (1, 1)
    with pytest.raises(_exceptions().ConflictException):
        alice.create_network(name="two")
    with pytest.raises(_exceptions().ForbiddenException):
        alice.update_quota(project, networks=10)
    admin.delete_quota(project)
    assert alice.get_quota(project).networks == 100


def test_default_rules(sdk: Sdk) -> None:
    network = sdk("admin").network
    assert len(list(network.default_security_group_rules())) == 4
    made = network.create_default_security_group_rule(
        direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22, ether_type="IPv4",
        used_in_default_sg=False, used_in_non_default_sg=True,
    )  # fmt: skip
    assert network.get_default_security_group_rule(made.id).protocol == "tcp"
    assert network.find_default_security_group_rule(made.id).id == made.id
    group = sdk("alice").network.create_security_group(name="with-ssh")
    assert 22 in {rule["port_range_min"] for rule in group.security_group_rules}
    network.delete_default_security_group_rule(made.id, ignore_missing=False)
    assert len(list(network.default_security_group_rules())) == 4


def test_the_cloud_layer(sdk: Sdk) -> None:
    """The older calls, which Ansible's modules and nodepool use."""
    alice = sdk("alice")
    network = alice.create_network("cloud", mtu_size=1400)
    assert alice.get_network("cloud").id == network.id
    assert alice.get_network_by_id(network.id).name == "cloud"
    subnet = alice.create_subnet("cloud", cidr="10.6.0.0/24", subnet_name="sub", enable_dhcp=True)
    assert alice.get_subnet("sub").id == subnet.id
    assert [found.id for found in alice.search_subnets(filters={"cidr": "10.6.0.0/24"})] == [subnet.id]
    port = alice.create_port(network.id, name="port", fixed_ips=[{"ip_address": "10.6.0.7"}])
    assert alice.get_port("port").id == port.id
    assert [found.id for found in alice.list_ports(filters={"network_id": network.id})] == [port.id]
    alice.update_port("port", name="renamed")
    group = alice.create_security_group("group", "for ssh")
    rule = alice.create_security_group_rule(group.id, port_range_min=22, port_range_max=22, protocol="tcp")
    assert alice.delete_security_group_rule(rule.id)
    assert alice.delete_port("renamed")
    assert alice.delete_subnet("sub")
    assert alice.delete_network("cloud")
    assert alice.delete_security_group("group")
    assert alice.delete_network("cloud") is False
