"""Sharing between projects: who sees what, what cannot be taken back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cove.network import errors, rbac_policies
from cove.network.context import RequestContext
from cove.network.models import (
    address_scopes,
    networks,
    port_security_groups,
    ports,
    quota_usages,
    security_groups,
    subnetpools,
    subnets,
)
from cove.network.models import rbac_policies as table
from cove.network.rbac_policies import RESOURCE, Sharing
from cove.network.tables.rbac_policy import RBAC_POLICY
from tests.unit.network.transactions import Store, store

ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32
ADMIN = RequestContext(project_id="a" * 32)
TABLES = {
    "network": networks,
    "subnetpool": subnetpools,
    "address_scope": address_scopes,
    "security_group": security_groups,
}
KINDS = tuple(TABLES)
N = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"


def member(project: str) -> RequestContext:
    return RequestContext(project_id=project, is_admin=False, roles=frozenset({"member", "reader"}))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path) as made:
        yield made


def an_object(db: Store, kind: str, object_id: str = N, project: str = ONE, **values: Any) -> None:
    db.insert(TABLES[kind], id=object_id, project_id=project, **values)


def share(
    db: Store,
    target: str,
    *,
    kind: str = "network",
    object_id: str = N,
    action: str = "access_as_shared",
    by: RequestContext | None = None,
) -> dict[str, Any]:
    context = by or member(ONE)
    body = {"object_type": kind, "object_id": object_id, "action": action, "target_tenant": target}
    values = RBAC_POLICY.for_create(body, context)
    create = RESOURCE.create
    assert create is not None
    return db.write(lambda tx: create(tx, str(uuid.uuid4()), values), context)


def row_of(db: Store, policy: dict[str, Any]) -> Any:
    with db.engine.begin() as connection:
        return connection.execute(sa.select(table).where(table.c.id == policy["id"])).mappings().one()


def unshare(db: Store, policy: dict[str, Any]) -> dict[str, Any]:
    row = row_of(db, policy)
    return db.write(lambda tx: rbac_policies.delete(tx, row), ADMIN)


def retarget(db: Store, policy: dict[str, Any], target: str, by: RequestContext = ADMIN) -> dict[str, Any]:
    row = row_of(db, policy)
    return db.write(lambda tx: rbac_policies.update(tx, row, {"target_tenant": target}), by)


def use(db: Store, kind: str, project: str, object_id: str = N) -> None:
    """Something of another project that needs the access."""
    item_id = str(uuid.uuid4())
    if kind == "network":
        db.insert(ports, id=item_id, project_id=project, network_id=object_id, mac_address=item_id[:17])
    elif kind == "subnetpool":
        an_object_of_a_port(db)
        db.insert(subnets, id=item_id, project_id=project, network_id=OTHER, subnetpool_id=object_id)
    elif kind == "address_scope":
        db.insert(subnetpools, id=item_id, project_id=project, address_scope_id=object_id)
    else:
        an_object_of_a_port(db)
        db.insert(ports, id=item_id, project_id=project, network_id=OTHER, mac_address=item_id[:17])
        db.insert(port_security_groups, port_id=item_id, security_group_id=object_id)


def an_object_of_a_port(db: Store) -> None:
    if not db.rows(sa.select(networks.c.id).where(networks.c.id == OTHER)):
        an_object(db, "network", OTHER)


def seen_by(db: Store, project: str, kind: str = "network", action: str = "access_as_shared") -> list[str]:
    context = member(project)
    return [row[0] for row in db.rows(rbac_policies.shared_with(context, kind, action))]


def sharing(db: Store, project: str, kind: str = "network") -> Sharing:
    return db.read(lambda reading: rbac_policies.sharing_of(reading, kind, [N]), member(project))[N]


def revision(db: Store) -> int:
    return int(db.rows(sa.select(networks.c.revision_number).where(networks.c.id == N))[0][0])


# --- what it shows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_shared_with_its_target_only(db: Store, kind: str) -> None:
    an_object(db, kind)
    policy = share(db, TWO, kind=kind)
    assert policy == {
        "id": policy["id"],
        "project_id": ONE,
        "tenant_id": ONE,
        "object_type": kind,
        "object_id": N,
        "action": "access_as_shared",
        "target_tenant": TWO,
    }
    assert [seen_by(db, project, kind) for project in (ONE, TWO, THREE)] == [[], [N], []]
    assert [sharing(db, project, kind) for project in (ONE, TWO)] == [Sharing(), Sharing(shared=True)]
    assert unshare(db, policy) == policy
    assert seen_by(db, TWO, kind) == []


def test_everyone(db: Store) -> None:
    an_object(db, "network")
    share(db, "*", by=ADMIN)
    assert seen_by(db, THREE) == [N]
    assert sharing(db, ONE) == Sharing(shared=True)


def test_sharing_of_many_is_one_statement(db: Store) -> None:
    ids = [str(uuid.uuid4()) for _ in range(300)]
    for object_id in ids[:5]:
        an_object(db, "network", object_id)
        share(db, TWO, object_id=object_id)
    db.statements.clear()
    found = db.read(lambda reading: rbac_policies.sharing_of(reading, "network", ids), member(TWO))
    assert [object_id for object_id in ids if found[object_id].shared] == ids[:5]
    assert list(found) == ids
    assert len(db.statements) == 1
    db.statements.clear()
    assert db.read(lambda reading: rbac_policies.sharing_of(reading, "network", [])) == {}
    assert db.statements == []


def test_a_policy_is_seen_by_its_own_project(db: Store) -> None:
    an_object(db, "network")
    policy = share(db, TWO)
    for project, seen in ((ONE, [policy["id"]]), (TWO, [])):
        assert [row[0] for row in db.rows(sa.select(table.c.id).where(RESOURCE.scope(member(project))))] == seen


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"target_tenant": None}, errors.InvalidInput),
        ({"target_tenant": "1234" * 100}, errors.InvalidInput),
        ({"target_tenant": "two"}, errors.InvalidInput),
        ({"object_type": "router"}, errors.InvalidInput),
        ({"object_type": None}, errors.InvalidInput),
        ({"object_id": "n"}, errors.HTTPBadRequest),
        ({"action": 5}, errors.HTTPBadRequest),
        ({"target_project": TWO}, errors.HTTPBadRequest),
    ],
)
def test_bodies_that_are_no_policy(body: dict[str, Any], error: type[Exception]) -> None:
    whole = {"object_type": "network", "object_id": N, "action": "access_as_shared", "target_tenant": TWO}
    with pytest.raises(error):
        RBAC_POLICY.for_create({**whole, **body}, member(ONE))


def test_only_the_target_can_be_changed() -> None:
    assert RBAC_POLICY.for_update({"target_tenant": str(uuid.UUID(TWO))}) == {"target_tenant": str(uuid.UUID(TWO))}
    for name in ("action", "object_id", "object_type", "project_id"):
        with pytest.raises(errors.HTTPBadRequest):
            RBAC_POLICY.for_update({name: "access_as_shared"})


@pytest.mark.parametrize(
    ("kind", "action"), [("network", "access"), ("subnetpool", "access_as_external"), ("security_group", "")]
)
def test_actions_belong_to_kinds(db: Store, kind: str, action: str) -> None:
    an_object(db, kind)
    with pytest.raises(errors.InvalidActionForType):
        share(db, TWO, kind=kind, action=action)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_ones_own_can_be_shared(db: Store, kind: str) -> None:
    with pytest.raises(errors.InvalidInput) as absent:
        share(db, THREE, kind=kind, by=member(TWO))
    an_object(db, kind)
    with pytest.raises(errors.InvalidInput) as unseen:
        share(db, THREE, kind=kind, by=member(TWO))
    assert str(unseen.value) == str(absent.value)
    share(db, TWO, kind=kind)
    with pytest.raises(errors.InvalidInput):
        share(db, THREE, kind=kind, by=member(TWO))
    assert share(db, THREE, kind=kind, by=ADMIN)["project_id"] == ADMIN.project_id


def test_the_same_twice(db: Store) -> None:
    an_object(db, "network")
    policy = share(db, TWO)
    with pytest.raises(errors.DuplicateRbacPolicy):
        share(db, TWO)
    share(db, TWO, action="access_as_external")
    other = share(db, THREE)
    with pytest.raises(errors.DuplicateRbacPolicy):
        retarget(db, other, TWO)
    assert retarget(db, policy, TWO) == policy


def test_a_policy_of_a_project_on_what_is_no_longer_its_own(db: Store) -> None:
    an_object(db, "network")
    policy = share(db, TWO, by=ADMIN)
    with pytest.raises(errors.RbacPolicyInUse):
        retarget(db, policy, THREE, by=member(THREE))


@pytest.mark.parametrize("kind", KINDS)
def test_access_that_is_used_stays(db: Store, kind: str) -> None:
    an_object(db, kind)
    policy = share(db, TWO, kind=kind)
    use(db, kind, TWO)
    with pytest.raises(errors.RbacPolicyInUse):
        unshare(db, policy)
    with pytest.raises(errors.RbacPolicyInUse):
        retarget(db, policy, THREE)
    everyone = share(db, "*", kind=kind, by=ADMIN)
    unshare(db, policy)
    with pytest.raises(errors.RbacPolicyInUse):
        unshare(db, everyone)
    with pytest.raises(errors.RbacPolicyInUse):
        retarget(db, everyone, THREE)
    assert retarget(db, everyone, TWO)["target_tenant"] == TWO


def test_to_everyone_instead_takes_nothing_away(db: Store) -> None:
    an_object(db, "network")
    policy = share(db, TWO)
    use(db, "network", TWO)
    assert retarget(db, policy, "*")["target_tenant"] == "*"


def test_ones_own_ports_need_no_policy(db: Store) -> None:
    an_object(db, "network")
    policy = share(db, ONE)
    use(db, "network", ONE)
    use(db, "network", "")  # of the service itself
    unshare(db, policy)
    unshare(db, share(db, "*", by=ADMIN))


# --- networks --------------------------------------------------------------------------------------------------------


def test_policies_count_as_changes_of_a_network(db: Store) -> None:
    an_object(db, "network", revision_number=5)
    policy = share(db, TWO)
    assert revision(db) == 6
    retarget(db, policy, THREE)
    assert revision(db) == 7
    unshare(db, policy)
    assert revision(db) == 8


def external(db: Store) -> bool:
    return bool(db.rows(sa.select(networks.c.router_external).where(networks.c.id == N))[0][0])


def test_a_network_leads_outside_as_long_as_a_policy_says_so(db: Store) -> None:
    an_object(db, "network")
    first = share(db, TWO, action="access_as_external")
    second = share(db, THREE, action="access_as_external")
    shared = share(db, THREE)
    assert sharing(db, THREE) == Sharing(shared=True, external=True)
    assert [seen_by(db, project, action="access_as_external") for project in (ONE, TWO)] == [[], [N]]
    for policy, left in ((shared, True), (first, True), (second, False)):
        unshare(db, policy)
        assert external(db) is left


def test_the_default_external_network_is_everyones(db: Store) -> None:
    an_object(db, "network", router_external=True, is_default=True)
    policy = share(db, "*", action="access_as_external", by=ADMIN)
    with pytest.raises(errors.RbacPolicyInUse):
        unshare(db, policy)
    with pytest.raises(errors.RbacPolicyInUse):
        retarget(db, policy, TWO)


def test_a_subnet_pool_is_shared_with_who_may_use_its_scope(db: Store) -> None:
    an_object(db, "address_scope", OTHER, project=THREE)
    an_object(db, "subnetpool", address_scope_id=OTHER)
    for target in (TWO, "*"):
        with pytest.raises(errors.InvalidInput):
            share(db, target, kind="subnetpool", by=ADMIN)
    policy = share(db, THREE, kind="subnetpool", by=ADMIN)
    with pytest.raises(errors.InvalidInput):
        retarget(db, policy, TWO)
    share(db, "*", kind="address_scope", object_id=OTHER, by=ADMIN)
    share(db, TWO, kind="subnetpool", by=ADMIN)


# --- the attributes of objects ---------------------------------------------------------------------------------------


def set_shared(db: Store, shared: bool, kind: str = "network") -> bool:
    return db.write(lambda tx: rbac_policies.set_shared(tx, kind, N, ONE, shared), ADMIN)


def used(db: Store, project: str = ONE) -> int:
    found = db.rows(
        sa.select(quota_usages.c.used).where(
            quota_usages.c.project_id == project, quota_usages.c.resource == "rbac_policy"
        )
    )
    return int(found[0][0]) if found else 0


@pytest.mark.parametrize("kind", KINDS)
def test_shared_is_a_policy_for_everyone(db: Store, kind: str) -> None:
    an_object(db, kind)
    assert [set_shared(db, shared, kind) for shared in (False, True, True, False)] == [False, True, False, True]
    assert db.rows(sa.select(table.c.id)) == []
    assert used(db) == 0


def test_shared_stays_while_others_use_it(db: Store) -> None:
    an_object(db, "network")
    set_shared(db, True)
    use(db, "network", TWO)
    with pytest.raises(errors.InvalidSharedSetting):
        set_shared(db, False)
    assert seen_by(db, THREE) == [N]
    share(db, TWO)
    assert set_shared(db, False)
    assert seen_by(db, TWO) == [N]


def test_shared_stays_while_others_have_subnets(db: Store) -> None:
    an_object(db, "network")
    set_shared(db, True)
    db.insert(subnets, id=OTHER, project_id=TWO, network_id=N)
    with pytest.raises(errors.InvalidSharedSetting):
        set_shared(db, False)


def test_shared_security_group_in_use(db: Store) -> None:
    an_object(db, "security_group")
    set_shared(db, True, "security_group")
    use(db, "security_group", TWO)
    with pytest.raises(errors.RbacPolicyInUse):
        set_shared(db, False, "security_group")


def test_external_is_a_policy_for_everyone(db: Store) -> None:
    def set_external(value: bool) -> bool:
        return db.write(lambda tx: rbac_policies.set_external(tx, N, ONE, value), ADMIN)

    an_object(db, "network")
    assert set_external(True)
    assert not set_external(True)
    share(db, TWO, action="access_as_external")
    assert used(db) == 1  # what `share` makes is counted by the plugin
    db.insert(ports, id=OTHER, project_id="", network_id=N, device_owner="network:router_gateway")
    with pytest.raises(errors.ExternalNetworkInUse):
        set_external(False)
    with db.engine.begin() as connection:
        connection.execute(sa.delete(ports))
    assert set_external(False)
    assert db.rows(sa.select(table.c.id)) == []


def test_no_quota_stands_against_what_follows_from_an_attribute(tmp_path: Path) -> None:
    with store(tmp_path, quotas={"rbac_policy": 0}) as db:
        an_object(db, "network")
        assert set_shared(db, True)
        assert used(db) == 1


def test_remove_all(db: Store) -> None:
    for object_id in (N, OTHER):
        an_object(db, "network", object_id)
    set_shared(db, True)
    share(db, TWO)
    kept = share(db, TWO, object_id=OTHER)
    db.write(lambda tx: rbac_policies.remove_all(tx, [N]), ADMIN)
    assert db.rows(sa.select(table.c.id)) == [(kept["id"],)]
    assert used(db) == -1  # `share` did not count here
