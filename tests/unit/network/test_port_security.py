"""Port security: what guards a port's sender addresses, with groups, address pairs and the network's own ports."""

from __future__ import annotations

from typing import Any

import pytest

from cove.network import errors
from tests.unit.network.callers import CALLERS, MINE
from tests.unit.network.fakes import Cloud

PAIR = {"ip_address": "10.9.0.1"}
GROUP = "{group}"
DEFAULT = "{default}"
NEEDS_GROUPS, NEEDS_PAIRS, HAS_GROUPS = (
    errors.PortSecurityAndIPRequiredForSecurityGroups,
    errors.AddressPairAndPortSecurityRequired,
    errors.PortSecurityPortHasSecurityGroup,
)
Outcome = type[errors.NetworkingError] | tuple[bool, list[str]]


def filled(value: Any, groups: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(item, groups) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, groups) for item in value]
    return groups.get(value, value) if isinstance(value, str) else value


async def groups_of(c: Cloud) -> dict[str, str]:
    group = await c.create("security_group", name="g")
    (default,) = await c.find("security_group", ("name", "default"))
    return {GROUP: group["id"], DEFAULT: default["id"]}


# network's default, what the request says → port_security_enabled and groups, or the refusal
CREATED: list[tuple[bool, dict[str, Any], Outcome]] = [
    (True, {}, (True, [DEFAULT])),
    (True, {"security_groups": []}, (True, [])),
    (True, {"security_groups": None}, (True, [])),
    (True, {"security_groups": [GROUP]}, (True, [GROUP])),
    (True, {"port_security_enabled": False}, (False, [])),
    (True, {"port_security_enabled": False, "security_groups": []}, (False, [])),
    (True, {"port_security_enabled": False, "security_groups": None}, (False, [])),
    (True, {"port_security_enabled": False, "security_groups": [GROUP]}, NEEDS_GROUPS),
    (True, {"port_security_enabled": False, "allowed_address_pairs": [PAIR]}, NEEDS_PAIRS),
    (True, {"port_security_enabled": False, "allowed_address_pairs": []}, (False, [])),
    (True, {"allowed_address_pairs": [PAIR]}, (True, [DEFAULT])),
    (True, {"device_owner": "network:foo"}, (False, [])),
    (True, {"device_owner": "network:foo", "port_security_enabled": True}, (False, [])),
    (True, {"device_owner": "network:foo", "security_groups": [GROUP]}, NEEDS_GROUPS),
    (True, {"device_owner": "network:foo", "allowed_address_pairs": [PAIR]}, NEEDS_PAIRS),
    (True, {"device_owner": "compute:nova"}, (True, [DEFAULT])),
    (False, {}, (False, [])),
    (False, {"security_groups": []}, (False, [])),
    (False, {"security_groups": [GROUP]}, NEEDS_GROUPS),
    (False, {"port_security_enabled": True}, (True, [DEFAULT])),
    (False, {"port_security_enabled": True, "security_groups": [GROUP]}, (True, [GROUP])),
    (False, {"allowed_address_pairs": [PAIR]}, NEEDS_PAIRS),
    (False, {"port_security_enabled": True, "allowed_address_pairs": [PAIR]}, (True, [DEFAULT])),
]


@pytest.mark.parametrize(("default", "given", "outcome"), CREATED)
async def test_at_creation(c: Cloud, default: bool, given: dict[str, Any], outcome: Outcome) -> None:
    network = await c.network(port_security_enabled=default)
    groups = await groups_of(c)
    if isinstance(outcome, type):
        with pytest.raises(outcome):
            await c.port(network, **filled(given, groups))
        assert await c.find("port") == []
        return
    port = await c.port(network, **filled(given, groups))
    assert (port["port_security_enabled"], port["security_groups"]) == (outcome[0], filled(outcome[1], groups))
    assert await c.get("port", port["id"]) == port


# what the port is like, what the request says → the same
UPDATED: list[tuple[dict[str, Any], dict[str, Any], Outcome]] = [
    ({}, {"port_security_enabled": False}, HAS_GROUPS),
    ({}, {"port_security_enabled": False, "security_groups": []}, (False, [])),
    ({}, {"port_security_enabled": False, "security_groups": None}, (False, [])),
    ({}, {"port_security_enabled": False, "security_groups": [GROUP]}, NEEDS_GROUPS),
    ({}, {"security_groups": [GROUP]}, (True, [GROUP])),
    ({}, {"security_groups": None}, (True, [])),
    ({"security_groups": []}, {"port_security_enabled": False}, (False, [])),
    (
        {"security_groups": [], "allowed_address_pairs": [PAIR]},
        {"port_security_enabled": False},
        NEEDS_PAIRS,
    ),
    (
        {"security_groups": [], "allowed_address_pairs": [PAIR]},
        {"port_security_enabled": False, "allowed_address_pairs": []},
        (False, []),
    ),
    ({"port_security_enabled": False}, {"port_security_enabled": True}, (True, [])),
    ({"port_security_enabled": False}, {"security_groups": [GROUP]}, NEEDS_GROUPS),
    ({"port_security_enabled": False}, {"security_groups": []}, (False, [])),
    ({"port_security_enabled": False}, {"allowed_address_pairs": [PAIR]}, NEEDS_PAIRS),
    ({"port_security_enabled": False}, {"port_security_enabled": True, "security_groups": [GROUP]}, (True, [GROUP])),
    (
        {"port_security_enabled": False},
        {"port_security_enabled": True, "allowed_address_pairs": [PAIR]},
        (True, []),
    ),
    ({"port_security_enabled": False}, {"name": "n"}, (False, [])),
]


@pytest.mark.parametrize(("has", "given", "outcome"), UPDATED)
async def test_at_an_update(c: Cloud, has: dict[str, Any], given: dict[str, Any], outcome: Outcome) -> None:
    groups = await groups_of(c)
    before = await c.port(await c.network(), **has)
    if isinstance(outcome, type):
        with pytest.raises(outcome):
            await c.update("port", before["id"], **filled(given, groups))
        assert await c.get("port", before["id"]) == before
        return
    port = await c.update("port", before["id"], **filled(given, groups))
    assert (port["port_security_enabled"], port["security_groups"]) == (outcome[0], filled(outcome[1], groups))
    assert port == before or port["revision_number"] == before["revision_number"] + 1
    assert await c.get("port", port["id"]) == port


# --- address pairs ---------------------------------------------------------------------------------------------------

PAIRS: list[tuple[list[dict[str, Any]] | None, list[tuple[str, str]]]] = [
    (None, []),
    ([], []),
    ([{"ip_address": "10.0.0.5"}], [("10.0.0.5", "own")]),
    ([{"ip_address": "10.5.0.0/16"}], [("10.5.0.0/16", "own")]),
    ([{"ip_address": "2001:DB8::5"}], [("2001:db8::5", "own")]),
    ([{"ip_address": "10.0.0.5", "mac_address": "FA-16-3E-00-00-01"}], [("10.0.0.5", "fa:16:3e:00:00:01")]),
    (
        [{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.5", "mac_address": "fa:16:3e:00:00:01"}],
        [("10.0.0.5", "own"), ("10.0.0.5", "fa:16:3e:00:00:01")],
    ),
    ([{"ip_address": f"10.0.0.{n}"} for n in range(10)], [(f"10.0.0.{n}", "own") for n in range(10)]),
]


@pytest.mark.parametrize(("given", "kept"), PAIRS)
async def test_address_pairs(c: Cloud, given: list[dict[str, Any]] | None, kept: list[tuple[str, str]]) -> None:
    network = await c.network()
    created = await c.port(network, allowed_address_pairs=given)
    changed = await c.update("port", (await c.port(network))["id"], allowed_address_pairs=given)
    for port in (created, changed):
        pairs = [(pair["ip_address"], pair["mac_address"]) for pair in port["allowed_address_pairs"]]
        assert pairs == [(address, port["mac_address"] if mac == "own" else mac) for address, mac in kept]


BAD_PAIRS: list[tuple[Any, type[errors.NetworkingError]]] = [
    ("x", errors.HTTPBadRequest),
    (["x"], errors.HTTPBadRequest),
    ([{}], errors.AllowedAddressPairsMissingIP),
    ([{"mac_address": "fa:16:3e:00:00:01"}], errors.AllowedAddressPairsMissingIP),
    ([{"ip_address": "x"}], errors.HTTPBadRequest),
    ([{"ip_address": "10.0.0.0/33"}], errors.HTTPBadRequest),
    ([{"ip_address": "10.0.0.5", "mac_address": "x"}], errors.HTTPBadRequest),
    ([{"ip_address": "10.0.0.5", "more": 1}], errors.HTTPBadRequest),
    ([{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.5"}], errors.DuplicateAddressPairInRequest),
    ([{"ip_address": f"10.0.0.{n}"} for n in range(11)], errors.AllowedAddressPairExhausted),
]


@pytest.mark.parametrize(("given", "error"), BAD_PAIRS)
async def test_address_pairs_that_are_refused(c: Cloud, given: Any, error: type[errors.NetworkingError]) -> None:
    network = await c.network()
    with pytest.raises(error) as caught:
        await c.port(network, allowed_address_pairs=given)
    assert caught.value.type == error.__name__
    port = await c.port(network)
    with pytest.raises(error):
        await c.update("port", port["id"], allowed_address_pairs=given)


async def test_a_guest_of_a_shared_network_does_not_say(c: Cloud) -> None:
    """On somebody else's network, port security and address pairs are its owner's to give."""
    network = await c.network(shared=True, project_id=MINE)
    c.context = CALLERS["stranger"]
    given: dict[str, Any]
    for given in ({"port_security_enabled": False}, {"allowed_address_pairs": [PAIR]}):
        with pytest.raises(errors.PolicyNotAuthorized):
            await c.port(network, **given)
    port = await c.port(network)
    for given in ({"port_security_enabled": False, "security_groups": []}, {"allowed_address_pairs": [PAIR]}):
        with pytest.raises(errors.PolicyNotAuthorized):
            await c.update("port", port["id"], **given)
    c.context = CALLERS["member"]
    await c.port(network, port_security_enabled=False)
