from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cove.network import errors, rbac_policies, subnetpools, subnets
from cove.network import subnetpool_operations as operations
from cove.network.models import networks
from tests.unit.network.address_lab import ADMIN, ALICE, Lab

RESOURCE = subnetpools.RESOURCE


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.engine.dispose()


def run(lab: Lab, operation: Any, pool: dict[str, Any], body: Any, context: Any = ALICE) -> Any:
    with lab.tx(context) as tx:
        return operation(tx, lab.row(tx, RESOURCE, pool["id"]), body)


def operate(lab: Lab, operation: Any, pool: dict[str, Any], body: Any) -> list[str]:
    answer: dict[str, list[str]] = run(lab, operation, pool, body)
    assert lab.show(RESOURCE, pool["id"])["prefixes"] == answer["prefixes"]
    return answer["prefixes"]


def test_add_and_remove_prefixes(lab: Lab) -> None:
    pool = lab.pool(["10.0.0.0/24", "192.0.2.0/24"], default_prefixlen=26)
    add, remove = operations.add_prefixes, operations.remove_prefixes
    assert operate(lab, add, pool, {"prefixes": ["10.0.1.0/24"]}) == ["10.0.0.0/23", "192.0.2.0/24"]
    assert operate(lab, add, pool, {"prefixes": ["10.0.0.0/25"]}) == ["10.0.0.0/23", "192.0.2.0/24"]
    assert operate(lab, remove, pool, {"prefixes": ["10.0.0.0/24"]}) == ["10.0.1.0/24", "192.0.2.0/24"]
    assert operate(lab, remove, pool, {"prefixes": ["172.16.0.0/24"]}) == ["10.0.1.0/24", "192.0.2.0/24"]
    subnet = lab.subnet(lab.network(), ip_version=4, subnetpool_id=pool["id"])
    assert subnet["cidr"] == "10.0.1.0/26"
    with pytest.raises(errors.IllegalSubnetPoolPrefixUpdate):
        operate(lab, remove, pool, {"prefixes": ["10.0.1.0/25"]})
    with pytest.raises(errors.PrefixVersionMismatch):
        operate(lab, add, pool, {"prefixes": ["2001:db8::/64"]})
    assert operate(lab, remove, pool, {"prefixes": ["10.0.1.128/25", "192.0.2.0/24"]}) == ["10.0.1.0/25"]
    emptied = lab.pool(["172.16.0.0/24"])
    assert operate(lab, remove, emptied, {"prefixes": ["172.16.0.0/16"]}) == []
    with pytest.raises(errors.SubnetAllocationError):
        lab.subnet(lab.network(), ip_version=4, subnetpool_id=emptied["id"], prefixlen=24)
    with pytest.raises(errors.PrefixVersionMismatch):
        operate(lab, add, emptied, {"prefixes": ["2001:db8::/64"]})
    assert operate(lab, add, emptied, {"prefixes": ["172.16.1.0/24"]}) == ["172.16.1.0/24"]


@pytest.mark.parametrize(
    "body", [None, {}, [], {"prefixes": []}, {"prefixes": "x"}, {"prefixes": ["x"]}, {"prefixes": 5}]
)
@pytest.mark.parametrize("operation", [operations.add_prefixes, operations.remove_prefixes])
def test_bad_bodies_of_prefix_operations(lab: Lab, operation: Any, body: Any) -> None:
    pool = lab.pool(["10.0.0.0/24"])
    with pytest.raises(errors.HTTPBadRequest):
        operate(lab, operation, pool, body)


def test_taking_in_the_subnets_of_a_network(lab: Lab) -> None:
    network, pool = lab.network(), lab.pool(["10.0.0.0/24"], default_prefixlen=26)
    four, six = lab.subnet(network, "10.0.1.0/24"), lab.subnet(network, "2001:db8::/64")
    onboard = operations.onboard_network_subnets
    revision = lab.revision(networks, network)
    assert run(lab, onboard, pool, {"network_id": network}) == [{"id": four["id"], "cidr": "10.0.1.0/24"}]
    assert lab.show(RESOURCE, pool["id"])["prefixes"] == ["10.0.0.0/23"]
    after = lab.show(subnets.RESOURCE, four["id"])
    assert (after["subnetpool_id"], after["revision_number"]) == (pool["id"], 2)
    assert lab.show(subnets.RESOURCE, six["id"])["subnetpool_id"] is None
    assert lab.revision(networks, network) == revision + 1
    # From now on it is one of the pool's: nothing else is cut from there, and the network takes no others.
    with pytest.raises(errors.NetworkSubnetPoolAffinityError):
        lab.subnet(network, "192.0.2.0/24")
    with pytest.raises(errors.SubnetAllocationError):
        lab.subnet(lab.network(), "10.0.1.0/26", subnetpool_id=pool["id"])
    with pytest.raises(errors.IllegalSubnetPoolUpdate):
        run(lab, onboard, pool, {"network_id": network})
    assert run(lab, onboard, pool, {"network_id": lab.network()}) == []


def test_taking_in_is_refused(lab: Lab) -> None:
    pool = lab.pool(["10.0.0.0/24"])
    foreign = lab.network(project_id="bob")
    onboard = operations.onboard_network_subnets
    for body, error in (
        (None, errors.InvalidInput),
        ({}, errors.InvalidInput),
        ({"network_id": "x"}, errors.NetworkNotFound),
        ({"network_id": "3a06dfc7-a239-4bad-b8e5-80a24b9d1d40"}, errors.NetworkNotFound),
        ({"network_id": foreign}, errors.NetworkNotFound),
    ):
        with pytest.raises(error):
            run(lab, onboard, pool, body)
    with lab.tx(ADMIN) as tx:
        rbac_policies.set_shared(tx, "network", foreign, "bob", True)
    with pytest.raises(errors.NotAuthorized):
        run(lab, onboard, pool, {"network_id": foreign})
    assert run(lab, onboard, pool, {"network_id": foreign}, ADMIN) == []
