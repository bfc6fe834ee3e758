"""Ports: values that are taken and refused, changes, who may say what about whose port."""

from __future__ import annotations

from typing import Any

import pytest

from cove.network import RequestContext, errors, ports
from cove.network.tables.port import VNIC_TYPES
from tests.unit.network.callers import CALLERS, MINE, THEIRS
from tests.unit.network.fakes import Cloud

LONG = "x" * 256
MAC = "fa:16:3e:11:22:33"
NOWHERE = "00000000-0000-4000-8000-000000000000"
MEMBER, STRANGER, READER = CALLERS["member"], CALLERS["stranger"], CALLERS["reader"]
BAD, INPUT = errors.HTTPBadRequest, errors.InvalidInput


# --- values ----------------------------------------------------------------------------------------------------------

TAKEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"name": "p", "description": "a\nb"}, {}),
    ({"admin_state_up": "false"}, {"admin_state_up": False, "status": "DOWN"}),
    ({"mac_address": MAC.upper()}, {"mac_address": MAC}),
    ({"mac_address": MAC.replace(":", "-")}, {"mac_address": MAC}),
    ({"device_id": "vm", "device_owner": "compute:nova"}, {}),
    ({"fixed_ips": []}, {"ip_allocation": "none"}),
    ({"tags": ["b", "a"]}, {"tags": ["a", "b"]}),
    ({"tags": []}, {}),
    ({"dns_name": "VM-1"}, {"dns_name": "vm-1"}),
    ({"dns_name": "", "dns_domain": ""}, {}),
    ({"dns_domain": "example.org."}, {}),
    ({"propagate_uplink_status": "False"}, {"propagate_uplink_status": False}),
    ({"binding:vnic_type": "direct"}, {}),
    ({"binding:host_id": "h"}, {"binding:vif_type": "bridge"}),
    ({"binding:host_id": ""}, {"binding:vif_type": "unbound", "binding:vif_details": {}}),
    ({"binding:host_id": None}, {"binding:host_id": "", "binding:vif_type": "unbound"}),
    ({"binding:profile": {"a": [1]}}, {}),
    ({"binding:profile": None}, {"binding:profile": {}}),
    ({"extra_dhcp_opts": None}, {"extra_dhcp_opts": []}),
    ({"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": None}]}, {"extra_dhcp_opts": []}),
    ({"project_id": MINE}, {"tenant_id": MINE}),
    ({"project_id": ""}, {"tenant_id": ""}),
]


@pytest.mark.parametrize(("given", "shown"), TAKEN)
async def test_values_that_are_taken(c: Cloud, given: dict[str, Any], shown: dict[str, Any]) -> None:
    network = await c.network()
    await c.subnet(network)
    made = await c.port(network, **given)
    assert made.items() >= {**given, **shown}.items()
    assert await c.get("port", made["id"]) == made


REFUSED: list[tuple[dict[str, Any], type[errors.NetworkingError]]] = [
    ({"network_id": NOWHERE}, errors.NetworkNotFound),
    ({"network_id": "x"}, BAD),
    ({"network_id": None}, BAD),
    ({"name": 5}, BAD),
    ({"name": None}, BAD),
    ({"name": LONG}, BAD),
    ({"name": " x"}, BAD),
    ({"description": None}, BAD),
    ({"admin_state_up": None}, INPUT),
    ({"mac_address": "x"}, BAD),
    ({"mac_address": "00:00:00:00:00:00"}, BAD),
    ({"mac_address": "01:00:5e:00:00:01"}, BAD),
    ({"device_id": None}, BAD),
    ({"device_id": LONG}, BAD),
    ({"device_owner": 5}, BAD),
    ({"fixed_ips": None}, BAD),
    ({"fixed_ips": "x"}, BAD),
    ({"fixed_ips": [{"subnet_id": NOWHERE}]}, errors.SubnetNotFound),
    ({"security_groups": "x"}, BAD),
    ({"security_groups": [NOWHERE]}, errors.SecurityGroupNotFound),
    ({"security_groups": [NOWHERE, NOWHERE]}, BAD),
    ({"extra_dhcp_opts": "x"}, INPUT),
    ({"port_security_enabled": None}, INPUT),
    ({"dns_name": None}, INPUT),
    ({"dns_name": "not good"}, BAD),
    ({"dns_name": "x" * 64}, BAD),
    ({"dns_domain": "example.org"}, BAD),
    ({"propagate_uplink_status": "x"}, INPUT),
    ({"tags": "x"}, BAD),
    ({"tags": [5]}, BAD),
    ({"tags": ["a", "a"]}, BAD),
    ({"tags": ["x" * 256]}, BAD),
    ({"tags": [str(n) for n in range(51)]}, BAD),
    ({"binding:vnic_type": "x"}, BAD),
    ({"binding:vnic_type": None}, BAD),
    ({"binding:profile": "x"}, BAD),
    ({"binding:vif_type": "ovs"}, BAD),
    ({"binding:vif_details": {}}, BAD),
    ({"status": "ACTIVE"}, BAD),
    ({"ip_allocation": "none"}, BAD),
    ({"dns_assignment": []}, BAD),
    ({"project_id": None}, BAD),
    ({"bogus": 1}, BAD),
]


@pytest.mark.parametrize(("given", "error"), REFUSED)
async def test_values_that_are_refused(c: Cloud, given: dict[str, Any], error: type[errors.NetworkingError]) -> None:
    network = await c.network()
    await c.subnet(network)
    with pytest.raises(error) as caught:
        await c.create("port", **{"network_id": network["id"], **given})
    assert caught.value.type == error.__name__
    assert await c.find("port") == []


NOT_CHANGED = ("id", "network_id", "tenant_id", "project_id", "status", "tags", "binding:vif_type", "revision_number")


@pytest.mark.parametrize("name", NOT_CHANGED)
async def test_attributes_that_stay(c: Cloud, name: str) -> None:
    port = await c.port(await c.network())
    with pytest.raises(BAD, match=f"'{name}' of a port cannot be changed"):
        await c.update("port", port["id"], **{name: port[name]})


@pytest.mark.parametrize("vnic_type", VNIC_TYPES)
async def test_kinds_of_ports(c: Cloud, vnic_type: str) -> None:
    port = await c.port(await c.network(), **{"binding:vnic_type": vnic_type})
    assert port["binding:vnic_type"] == vnic_type


# --- changes ---------------------------------------------------------------------------------------------------------

COUNTED: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"name": "n"}, False),
    ({"name": "m"}, True),
    ({"description": "d"}, True),
    ({"admin_state_up": False}, True),
    ({"device_id": "d"}, True),
    ({"mac_address": "fa:16:3e:00:00:02"}, True),
    ({"mac_address": MAC}, False),
    ({"mac_address": None}, True),
    ({"fixed_ips": [{"ip_address": "192.0.2.9"}]}, True),
    ({"fixed_ips": [{"subnet_id": "{subnet}"}]}, False),
    ({"fixed_ips": []}, True),
    ({"security_groups": []}, True),
    ({"allowed_address_pairs": [{"ip_address": "10.0.0.1"}]}, True),
    ({"allowed_address_pairs": None}, False),
    ({"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1400"}]}, True),
    ({"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": None}]}, False),
    ({"dns_name": "vm"}, True),
    ({"dns_domain": "a.b."}, True),
    ({"port_security_enabled": True}, False),
    ({"propagate_uplink_status": False}, True),
    ({"binding:host_id": "h"}, True),
    ({"binding:host_id": ""}, False),
    ({"binding:host_id": None}, False),
    ({"binding:vnic_type": "direct"}, True),
    ({"binding:profile": {"a": 1}}, True),
    ({"binding:profile": {}}, False),
]


@pytest.mark.parametrize(("changes", "counts"), COUNTED)
async def test_a_revision_counts_what_changed(c: Cloud, changes: dict[str, Any], counts: bool) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    before = await c.port(network, name="n", mac_address=MAC)
    if "{subnet}" in str(changes):
        changes = {"fixed_ips": [{"subnet_id": subnet["id"]}]}
    after = await c.update("port", before["id"], **changes)
    assert after["revision_number"] == before["revision_number"] + counts
    assert (after == before) == (not counts)
    assert await c.get("port", before["id"]) == after


MAC_CHANGES: list[tuple[dict[str, Any], type[errors.NetworkingError] | None]] = [
    ({}, None),
    ({"device_owner": "compute:nova", "device_id": "vm"}, None),
    ({"binding:host_id": "h"}, errors.PortBound),
    ({"binding:host_id": "h", "binding:vnic_type": "direct"}, errors.PortBound),
    ({"binding:host_id": "h", "binding:vnic_type": "direct-physical"}, None),
    ({"binding:host_id": "h", "binding:vnic_type": "baremetal"}, None),
    ({"device_owner": "network:dhcp"}, errors.UnsupportedPortDeviceOwner),
]


@pytest.mark.parametrize(("has", "error"), MAC_CHANGES)
@pytest.mark.parametrize("wanted", ["fa:16:3e:00:00:02", None])
async def test_a_mac_address_changes_where_nobody_relies_on_it(
    c: Cloud, has: dict[str, Any], error: type[Exception] | None, wanted: str | None
) -> None:
    network = await c.network()
    port = await c.port(network, **has)
    if error is not None:
        # Letting go of the host in the same request is not enough: it still has the old address.
        for more in ({}, {"binding:host_id": ""}):
            with pytest.raises(error):
                await c.update("port", port["id"], mac_address=wanted, **more)
        assert await c.get("port", port["id"]) == port
        return
    changed = await c.update("port", port["id"], mac_address=wanted)
    assert changed["mac_address"] == wanted or (wanted is None and changed["mac_address"].startswith(ports.MAC_BASE))
    assert changed["mac_address"] != port["mac_address"]


async def test_binding_follows_the_host(c: Cloud) -> None:
    network = await c.network()
    port = await c.port(network)
    bridge = {"bridge_name": f"brq{network['id'][:11]}"}
    for host, kind, details in (("h", "bridge", bridge), ("i", "bridge", bridge), ("", "unbound", {})):
        port = await c.update("port", port["id"], **{"binding:host_id": host})
        assert (port["binding:host_id"], port["binding:vif_type"], port["binding:vif_details"]) == (host, kind, details)


@pytest.mark.parametrize(
    ("dns_name", "domain", "hostname", "fqdn"),
    [
        ("", "lab", "host-192-0-2-2", "host-192-0-2-2.lab."),
        ("vm", "lab", "vm", "vm.lab."),
        ("vm", "lab.", "vm", "vm.lab."),
        ("a.b", "lab", "a.b", "a.b.lab."),
        ("vm.lab", "lab", "vm.lab", "vm.lab.lab."),
        ("vm.lab.", "lab", "vm.lab.", "vm.lab."),
        ("vm.example.org.", "lab", "vm.example.org.", "vm.example.org."),
        ("vm", "", "vm", "vm."),
    ],
)
def test_names(dns_name: str, domain: str, hostname: str, fqdn: str) -> None:
    assignment = ports.dns_assignment(dns_name, [{"ip_address": "192.0.2.2"}], domain)
    assert assignment == [{"ip_address": "192.0.2.2", "hostname": hostname, "fqdn": fqdn}]


# --- who -------------------------------------------------------------------------------------------------------------

OF_OTHERS: list[tuple[dict[str, Any], bool]] = [
    # On a network that is shared with one: what one may say of a port of one's own, and what only its owner may.
    ({}, True),
    ({"name": "n", "description": "d", "device_id": "d", "dns_name": "vm"}, True),
    ({"device_owner": "compute:nova"}, True),
    ({"device_owner": "network:dhcp"}, False),
    ({"mac_address": MAC}, False),
    ({"fixed_ips": [{"subnet_id": "{subnet}"}]}, True),
    ({"fixed_ips": [{"ip_address": "192.0.2.9"}]}, False),
    ({"fixed_ips": [{"subnet_id": "{subnet}", "ip_address": "192.0.2.9"}]}, False),
    ({"port_security_enabled": False}, False),
    ({"port_security_enabled": True}, False),
    ({"allowed_address_pairs": [{"ip_address": "10.0.0.1"}]}, False),
    ({"binding:host_id": "h"}, False),
    ({"binding:host_id": ""}, False),
    ({"binding:profile": {"a": 1}}, False),
    ({"binding:profile": {}}, False),
    ({"binding:vnic_type": "direct"}, True),
]


@pytest.mark.parametrize(("given", "allowed"), OF_OTHERS)
async def test_guests_of_a_shared_network(c: Cloud, given: dict[str, Any], allowed: bool) -> None:
    network = await c.network(shared=True, project_id=MINE)
    subnet = await c.subnet(network, project_id=MINE)
    given = {
        name: [{k: subnet["id"] if v == "{subnet}" else v for k, v in entry.items()} for entry in value]
        if name == "fixed_ips"
        else value
        for name, value in given.items()
    }
    c.context = STRANGER
    if not allowed:
        with pytest.raises(errors.PolicyNotAuthorized):
            await c.port(network, **given)
        return
    port = await c.port(network, **given)
    assert port["project_id"] == THEIRS
    assert not [name for name in port if name.startswith("binding:") and name != "binding:vnic_type"]


async def test_the_owner_of_a_network_sees_all_ports_on_it(c: Cloud) -> None:
    network = await c.network(shared=True, project_id=MINE)
    c.context = STRANGER
    port = await c.port(network)
    c.context = MEMBER
    assert (await c.get("port", port["id"]))["id"] == port["id"]
    own = await c.port(network)
    c.context = STRANGER
    with pytest.raises(errors.PortNotFound):
        await c.get("port", own["id"])
    assert [found["id"] for found in await c.find("port", ("network_id", network["id"]))] == [port["id"]]


FORBIDDEN: list[tuple[RequestContext, type[errors.NetworkingError]]] = [
    (READER, errors.PolicyNotAuthorized),
    (STRANGER, errors.PortNotFound),
    (CALLERS["strange reader"], errors.PortNotFound),
    (CALLERS["nobody"], errors.PortNotFound),
]


@pytest.mark.parametrize(("who", "error"), FORBIDDEN)
async def test_who_may_neither_change_nor_remove(c: Cloud, who: RequestContext, error: type[Exception]) -> None:
    admin, c.context = c.context, MEMBER
    port = await c.port(await c.network())
    c.context = who
    with pytest.raises(error):
        await c.update("port", port["id"], name="n")
    with pytest.raises(error):
        await c.delete("port", port["id"])
    c.context = admin
    assert (await c.get("port", port["id"]))["name"] == ""


async def test_a_network_that_one_does_not_see_is_not_there(c: Cloud) -> None:
    network = await c.network(project_id=MINE)
    await c.subnet(network, project_id=MINE)
    for c.context in (STRANGER, CALLERS["nobody"]):
        for values in ({}, {"mac_address": MAC}, {"binding:host_id": "h"}):
            with pytest.raises(errors.NetworkNotFound):
                await c.port(network, **values)


# --- lists -----------------------------------------------------------------------------------------------------------

FOUND: list[tuple[list[tuple[str, str]], str]] = [
    ([("name", "a")], "a"),
    ([("name", "A")], ""),
    ([("name", "a"), ("name", "b")], "a b"),
    ([("name", "")], ""),
    ([("device_id", "")], "b c"),
    ([("device_owner", "compute:x")], "b"),
    ([("admin_state_up", "False")], "c"),
    ([("admin_state_up", "0")], "c"),
    ([("admin_state_up", "true"), ("name", "c")], ""),
    ([("mac_address", MAC.upper())], "c"),
    ([("mac_address", "x")], ""),
    ([("fixed_ips", "ip_address=192.0.2.11")], "a"),
    ([("fixed_ips", "ip_address=192.0.2.11"), ("fixed_ips", "ip_address=192.0.2.12")], "a b"),
    ([("fixed_ips", "ip_address_substr=.2.1")], "a b"),
    ([("fixed_ips", "ip_address_substr=%")], ""),
    ([("fixed_ips", "subnet_id={subnet}")], "a b"),
    ([("fixed_ips", "subnet_id={subnet}"), ("fixed_ips", "ip_address=192.0.2.12")], "b"),
    ([("fixed_ips", "ip_address=\0")], ""),
    ([("project_id", MINE)], ""),
    ([("tenant_id", "{project}"), ("project_id", "{project}")], "a b c"),
    ([("revision_number", "1")], "a b c"),
    ([("revision_number", "x")], ""),
    ([("name", "a\0")], ""),
    ([("id", "\0")], ""),
    ([("security_groups", "x")], ""),
]


@pytest.mark.parametrize(("filters", "names"), FOUND)
async def test_filters(c: Cloud, filters: list[tuple[str, str]], names: str) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    await c.port(network, name="a", device_id="one", fixed_ips=[{"ip_address": "192.0.2.11"}])
    await c.port(network, name="b", device_owner="compute:x", fixed_ips=[{"ip_address": "192.0.2.12"}])
    await c.port(network, name="c", admin_state_up=False, mac_address=MAC, fixed_ips=[])
    known = {"{subnet}": subnet["id"], "{project}": c.context.project_id}
    asked = []
    for name, value in filters:
        for word, meant in known.items():
            value = value.replace(word, meant)
        asked.append((name, value))
    assert sorted(port["name"] for port in await c.find("port", *asked)) == names.split()


REFUSED_FILTERS: list[tuple[tuple[str, str], type[errors.NetworkingError]]] = [
    (("bogus", "1"), BAD),
    (("allowed_address_pairs", "x"), BAD),
    (("binding:profile", "x"), BAD),
    (("admin_state_up", "nonsense"), INPUT),
    (("admin_state_up", ""), INPUT),
    (("fixed_ips", "nonsense"), INPUT),
    (("fixed_ips", "colour=red"), INPUT),
]


@pytest.mark.parametrize(("argument", "error"), REFUSED_FILTERS)
async def test_filters_that_are_refused(
    c: Cloud, argument: tuple[str, str], error: type[errors.NetworkingError]
) -> None:
    with pytest.raises(error) as caught:
        await c.find("port", argument)
    assert caught.value.type == error.__name__


# --- bulk ------------------------------------------------------------------------------------------------------------


async def test_several_at_once_with_their_own_tags(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    made = await c.bulk(
        "port",
        [
            {"network_id": network["id"], "name": "a", "tags": ["x"]},
            {"network_id": network["id"], "name": "b", "tags": ["y", "x"]},
            {"port": {"network_id": network["id"], "name": "c"}},
        ],
    )
    assert [(port["name"], port["tags"]) for port in made] == [("a", ["x"]), ("b", ["x", "y"]), ("c", [])]
    assert [port["name"] for port in await c.find("port", ("tags", "y"))] == ["b"]
    await c.delete("port", made[1]["id"])
    assert await c.rows("SELECT tag FROM tags") == [("x",)]


@pytest.mark.parametrize(
    ("second", "error"),
    [
        ({"network_id": NOWHERE}, errors.NetworkNotFound),
        ({"mac_address": MAC}, errors.MacAddressInUse),
        ({"fixed_ips": [{"ip_address": "192.0.2.50"}]}, errors.IpAddressAlreadyAllocated),
        ({"tags": [5]}, BAD),
        ({"bogus": 1}, BAD),
    ],
)
async def test_all_or_none(c: Cloud, second: dict[str, Any], error: type[Exception]) -> None:
    network = await c.network()
    await c.subnet(network)
    first = {
        "network_id": network["id"],
        "mac_address": MAC,
        "fixed_ips": [{"ip_address": "192.0.2.50"}],
        "tags": ["x"],
    }
    with pytest.raises(error):
        await c.bulk("port", [first, {"network_id": network["id"], **second}])
    assert await c.find("port") == []
    assert await c.rows("SELECT tag FROM tags") == []
