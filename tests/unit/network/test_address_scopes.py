from __future__ import annotations

from collections.abc import Iterator

import pytest

from cove.network import address_scopes, errors, subnetpool_operations, subnetpools
from cove.network.tables.address_scope import ADDRESS_SCOPE
from tests.unit.network.address_lab import ADMIN, ALICE, BOB, Lab

RESOURCE = address_scopes.RESOURCE


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.engine.dispose()


def test_create_show_rename_delete(lab: Lab) -> None:
    scope = lab.scope(6, name="a")
    assert scope == lab.show(RESOURCE, scope["id"])
    assert set(scope) == set(ADDRESS_SCOPE.by_name)
    assert (scope["ip_version"], scope["shared"], scope["project_id"]) == (6, False, "alice")
    assert lab.update(RESOURCE, scope["id"], name="b")["name"] == "b"
    assert lab.show(RESOURCE, scope["id"])["name"] == "b"
    lab.delete(RESOURCE, scope["id"])
    assert lab.visible(RESOURCE, ALICE) == set()


def test_sharing_is_for_good(lab: Lab) -> None:
    scope = lab.scope(context=ADMIN)
    assert lab.visible(RESOURCE, ALICE) == set()
    assert lab.update(RESOURCE, scope["id"], ADMIN, shared=True)["shared"] is True
    assert lab.visible(RESOURCE, ALICE) == {scope["id"]}
    with pytest.raises(errors.AddressScopeUpdateError):
        lab.update(RESOURCE, scope["id"], ADMIN, name="b", shared=False)
    assert lab.show(RESOURCE, scope["id"], ADMIN)["name"] == ""


def test_a_scope_with_pools_stays(lab: Lab) -> None:
    scope = lab.scope()
    pool = lab.pool(["10.0.0.0/8"], address_scope_id=scope["id"])
    with pytest.raises(errors.AddressScopeInUse):
        lab.delete(RESOURCE, scope["id"])
    lab.update(subnetpools.RESOURCE, pool["id"], address_scope_id=None)
    lab.delete(RESOURCE, scope["id"])


# --- pools in a scope ------------------------------------------------------------------------------------------------


def test_no_address_is_twice_in_a_scope(lab: Lab) -> None:
    scope, other = lab.scope(), lab.scope()
    lab.pool(["20.0.0.0/18", "30.0.0.0/18"], address_scope_id=scope["id"])
    clash = ["40.0.0.0/18", "30.0.0.0/12"]
    with pytest.raises(errors.AddressScopePrefixConflict):
        lab.pool(clash, address_scope_id=scope["id"])
    pool = lab.pool(clash, address_scope_id=other["id"])
    with pytest.raises(errors.AddressScopePrefixConflict):
        lab.update(subnetpools.RESOURCE, pool["id"], address_scope_id=scope["id"])
    small = lab.pool(["20.10.0.0/24"], address_scope_id=scope["id"])
    with pytest.raises(errors.AddressScopePrefixConflict):
        lab.update(subnetpools.RESOURCE, small["id"], prefixes=["20.0.0.0/8"])
    with lab.tx() as tx:
        row = lab.row(tx, subnetpools.RESOURCE, small["id"])
        with pytest.raises(errors.AddressScopePrefixConflict):
            subnetpool_operations.add_prefixes(tx, row, {"prefixes": ["30.0.0.0/24"]})


def test_the_scope_of_a_pool(lab: Lab) -> None:
    six, hidden, mine = lab.scope(6), lab.scope(context=BOB), lab.scope()
    for scope_id, error in (
        (six["id"], errors.IllegalSubnetPoolIpVersionAssociationToAddressScope),
        (hidden["id"], errors.AddressScopeNotFound),
        ("3a06dfc7-a239-4bad-b8e5-80a24b9d1d40", errors.AddressScopeNotFound),
        ("foo", errors.HTTPBadRequest),
    ):
        with pytest.raises(error):
            lab.pool(["10.0.0.0/8"], address_scope_id=scope_id)
        pool = lab.pool(["10.0.0.0/8"])
        with pytest.raises(error):
            lab.update(subnetpools.RESOURCE, pool["id"], address_scope_id=scope_id)
        assert lab.update(subnetpools.RESOURCE, pool["id"], address_scope_id=mine["id"])["revision_number"] == 2
        lab.delete(subnetpools.RESOURCE, pool["id"])


def test_what_is_in_a_foreign_scope_is_changed_by_admins_only(lab: Lab) -> None:
    scope = lab.scope(context=ADMIN, shared=True)
    pool = lab.pool(["20.0.0.0/18"])
    lab.update(subnetpools.RESOURCE, pool["id"], ADMIN, address_scope_id=scope["id"])
    with pytest.raises(errors.IllegalSubnetPoolUpdate):
        lab.update(subnetpools.RESOURCE, pool["id"], prefixes=["20.0.0.0/8"])
    after = lab.update(subnetpools.RESOURCE, pool["id"], ADMIN, prefixes=["20.0.0.0/8"])
    assert after["prefixes"] == ["20.0.0.0/8"]


# --- networks in a scope ---------------------------------------------------------------------------------------------


def test_the_scopes_of_networks(lab: Lab) -> None:
    four, six = lab.scope(4), lab.scope(6)
    pools = {
        4: lab.pool(["10.0.0.0/8"], address_scope_id=four["id"], default_prefixlen=24),
        6: lab.pool(["2001:db8::/32"], address_scope_id=six["id"]),
    }
    both, only_six, none = lab.network(), lab.network(), lab.network()
    for network, versions in ((both, (4, 6)), (only_six, (6,))):
        for version in versions:
            lab.subnet(network, ip_version=version, subnetpool_id=pools[version]["id"])
    lab.subnet(none, "192.0.2.0/24")
    with lab.reading() as reading:
        lab.statements.clear()
        found = address_scopes.scopes_of_networks(reading, [both, only_six, none])
        assert len(lab.statements) == 1
    assert found == {both: (four["id"], six["id"]), only_six: (None, six["id"])}


def test_a_networks_subnets_are_in_one_scope(lab: Lab) -> None:
    scope, other = lab.scope(), lab.scope()
    first, second, third = (
        lab.pool([f"10.{n}.0.0/16"], address_scope_id=each["id"], default_prefixlen=24)
        for n, each in enumerate((scope, scope, other))
    )
    network = lab.network()
    lab.subnet(network, ip_version=4, subnetpool_id=first["id"])
    lab.subnet(network, ip_version=4, subnetpool_id=second["id"])  # another pool of the same scope is fine
    with pytest.raises(errors.NetworkAddressScopeAffinityError):
        lab.subnet(network, ip_version=4, subnetpool_id=third["id"])
    with pytest.raises(errors.NetworkSubnetPoolAffinityError):
        lab.subnet(network, "192.0.2.0/24")
    # Nor can one of the pools leave it while their subnets share a network.
    with pytest.raises(errors.NetworkAddressScopeAffinityError):
        lab.update(subnetpools.RESOURCE, first["id"], address_scope_id=other["id"])
