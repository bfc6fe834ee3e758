"""Security groups, their rules and the groups of ports, on a database of their own; without API, policy and quotas."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from cove.db.schema import metadata
from cove.network import errors, queries, quotas, security_group_defaults, security_group_rules, security_groups
from cove.network.context import RequestContext
from cove.network.models import (
    default_security_group_rules,
    default_security_groups,
    networks,
    ports,
    quota_usages,
    rbac_policies,
)
from cove.network.policy import Policy
from cove.network.resource import Object, Resource
from cove.network.transaction import PluginConfig, Reading, Transaction

ME, OTHER = "a" * 32, "b" * 32
GROUP, RULE, TEMPLATE = security_groups.RESOURCE, security_group_rules.RESOURCE, security_group_defaults.RESOURCE
CONFIG = PluginConfig(policy=Policy.load())


def member(project_id: str = ME) -> RequestContext:
    return RequestContext(project_id=project_id, is_admin=False, roles=frozenset({"member", "reader"}))


ADMIN = RequestContext(project_id="c" * 32, is_admin=True)

FIRST_RULES: tuple[dict[str, Any], ...] = (
    {"direction": "egress", "ethertype": "IPv4", "remote_group_id": None, "used_in_non_default_sg": True},
    {"direction": "egress", "ethertype": "IPv6", "remote_group_id": None, "used_in_non_default_sg": True},
    {"direction": "ingress", "ethertype": "IPv4", "remote_group_id": "PARENT", "used_in_non_default_sg": False},
    {"direction": "ingress", "ethertype": "IPv6", "remote_group_id": "PARENT", "used_in_non_default_sg": False},
)


class Store:
    """One connection in one transaction, seen through different callers' eyes."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def tx(self, context: RequestContext | None = None) -> Transaction:
        return Transaction(self.connection, context or member(), CONFIG)

    def make(self, resource: Resource, given: dict[str, Any], tx: Transaction | None = None) -> Object:
        """What the controller and the plugin do for a POST, but policy and quota."""
        tx = tx or self.tx()
        assert resource.create is not None
        return resource.create(tx, str(uuid.uuid4()), resource.attributes.for_create(given, tx.context))

    def group(self, context: RequestContext | None = None, **given: Any) -> Object:
        return self.make(GROUP, given, self.tx(context))

    def rule(self, group: Object, tx: Transaction | None = None, **given: Any) -> Object:
        return self.make(RULE, {"direction": "ingress", "security_group_id": group["id"], **given}, tx)

    def row(self, resource: Resource, item_id: str, context: RequestContext | None = None) -> Any:
        return queries.row(Reading(self.connection, context or member(), CONFIG), resource, item_id)

    def get(self, resource: Resource, item_id: str, context: RequestContext | None = None) -> Object:
        return queries.get(Reading(self.connection, context or member(), CONFIG), resource, item_id)

    def find(self, resource: Resource, context: RequestContext | None = None, **filters: Any) -> list[Object]:
        wanted = resource.attributes.filters(filters.items(), ())
        reading = Reading(self.connection, context or member(), CONFIG)
        return queries.find(reading, resource, queries.ListQuery(filters=wanted))

    def update(self, group: Object, context: RequestContext | None = None, **changes: Any) -> Object:
        tx = self.tx(context)
        return security_groups.update(tx, queries.row(tx, GROUP, group["id"]), GROUP.attributes.for_update(changes))

    def delete(self, resource: Resource, item_id: str, context: RequestContext | None = None) -> Transaction:
        tx = self.tx(context)
        assert resource.delete is not None
        resource.delete(tx, queries.row(tx, resource, item_id))
        return tx

    def port(self, *group_ids: str) -> str:
        """A port that is in these groups."""
        network_id, port_id = str(uuid.uuid4()), str(uuid.uuid4())
        for table, more in ((networks, {"id": network_id}), (ports, {"id": port_id, "network_id": network_id})):
            row = {c.name: _filler(c) for c in table.c if not c.nullable} | more
            self.connection.execute(sa.insert(table), row)
        security_groups.bind(self.tx(), port_id, group_ids)
        return port_id

    def used(self) -> dict[str, int]:
        used = sa.select(quota_usages.c.resource, quota_usages.c.used).where(quota_usages.c.project_id == ME)
        return {row.resource: row.used for row in self.connection.execute(used)}

    def share(self, group: Object, target: str) -> None:
        row = {"id": str(uuid.uuid4()), "project_id": group["project_id"], "object_type": "security_group"}
        row |= {"object_id": group["id"], "action": "access_as_shared", "target_project": target}
        self.connection.execute(sa.insert(rbac_policies), row)


def _filler(column: sa.Column[Any]) -> Any:
    if isinstance(column.type, sa.Boolean):
        return True
    return (
        0 if isinstance(column.type, sa.Integer) else str(uuid.uuid4())[:16] if column.type.python_type is str else []
    )


@pytest.fixture
def store() -> Iterator[Store]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        empty = {"description": "", "revision_number": 1, "created_at": "", "updated_at": ""}
        connection.execute(
            sa.insert(default_security_group_rules),
            [{"id": str(uuid.uuid4()), "used_in_default_sg": True, **rule, **empty} for rule in FIRST_RULES],
        )
        yield Store(connection)
    engine.dispose()


def said(rules: list[Object]) -> set[tuple[Any, ...]]:
    return {(rule["direction"], rule["ethertype"], rule["remote_group_id"]) for rule in rules}


# --- default groups --------------------------------------------------------------------------------------------------


def test_a_default_group_is_made_once_and_lets_in_its_own_members(store: Store) -> None:
    tx = store.tx()
    group_id = security_groups.default_group_id(tx, ME)
    assert security_groups.default_group_id(tx, ME) == group_id == security_groups.default_group_id(store.tx(), ME)
    (group,) = store.find(GROUP)
    assert (group["id"], group["name"], group["description"]) == (group_id, "default", "Default security group")
    assert group["stateful"] is True
    assert said(group["security_group_rules"]) == {
        ("egress", "IPv4", None),
        ("egress", "IPv6", None),
        ("ingress", "IPv4", group_id),
        ("ingress", "IPv6", group_id),
    }
    assert all(rule["belongs_to_default_sg"] for rule in group["security_group_rules"])
    assert tx.counted == {}
    quotas.settle(tx)
    assert store.used() == {"security_group": 1, "security_group_rule": 4}


def test_it_is_looked_up_once_in_a_transaction(store: Store) -> None:
    security_groups.default_group_id(store.tx(), ME)
    statements: list[str] = []
    sa.event.listen(store.connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
    tx = store.tx()
    for _ in range(10):
        security_groups.for_port(tx, ME, None, port_security=True, trusted_owner=False)
    assert len(statements) == 1


def test_no_quota_stands_against_a_default_group(store: Store) -> None:
    tight = dataclasses.replace(CONFIG, quotas={"security_group": 0, "security_group_rule": 0})
    tx = Transaction(store.connection, member(), tight)
    security_groups.default_group_id(tx, ME)
    quotas.settle(tx)
    tx = Transaction(store.connection, member(), tight)
    store.make(GROUP, {"name": "web"}, tx)
    with pytest.raises(errors.OverQuota):
        quotas.settle(tx)


def test_two_that_make_it_at_once_cannot_both_have_it(store: Store) -> None:
    security_groups.default_group_id(store.tx(), ME)
    late = store.tx()
    with pytest.raises(sa.exc.IntegrityError):
        security_groups._make_default(late, ME)  # it has looked before the other one wrote


@pytest.mark.parametrize(
    ("context", "filters", "whose"),
    [
        (member(), {}, ME),
        (member(), {"project_id": [OTHER]}, ME),
        (ADMIN, {}, ADMIN.project_id),
        (ADMIN, {"project_id": [OTHER]}, OTHER),
        (ADMIN, {"tenant_id": [OTHER]}, OTHER),
        (RequestContext(project_id=""), {}, None),
    ],
)
def test_a_list_makes_the_default_group_of_whom_it_is_for(
    store: Store, context: RequestContext, filters: dict[str, list[str]], whose: str | None
) -> None:
    tx = store.tx(context)
    assert security_groups.default_missing(tx, filters) is (whose is not None)
    security_groups.make_default(tx, filters)
    assert store.connection.execute(sa.select(default_security_groups.c.project_id)).scalars().all() == [whose] * bool(
        whose
    )
    assert not security_groups.default_missing(store.tx(context), filters)


@pytest.mark.parametrize("name", ["default", "Default", "DEFAULT"])
def test_the_name_of_the_default_group_is_taken(store: Store, name: str) -> None:
    with pytest.raises(errors.SecurityGroupDefaultAlreadyExists):
        store.group(name=name)
    group = store.group(name="web")
    with pytest.raises(errors.SecurityGroupDefaultAlreadyExists):
        store.update(group, name=name)


@pytest.mark.parametrize("context", [member(), ADMIN])
def test_the_default_group_keeps_its_name(store: Store, context: RequestContext) -> None:
    group = store.get(GROUP, security_groups.default_group_id(store.tx(), ME))
    with pytest.raises(errors.SecurityGroupCannotUpdateDefault):
        store.update(group, context, name="other")
    assert store.update(group, description="ours")["description"] == "ours"


def test_only_an_admin_removes_a_default_group_and_a_new_one_follows(store: Store) -> None:
    group_id = security_groups.default_group_id(store.tx(), ME)
    with pytest.raises(errors.SecurityGroupCannotRemoveDefault):
        store.delete(GROUP, group_id)
    tx = store.delete(GROUP, group_id, ADMIN)
    assert tx.counted == {(ME, "security_group_rule"): -4}
    assert security_groups.default_missing(store.tx())
    assert security_groups.default_group_id(store.tx(), ME) != group_id


# --- groups ----------------------------------------------------------------------------------------------------------


def test_a_new_group_lets_everything_out(store: Store) -> None:
    tx = store.tx()
    group = store.make(GROUP, {"name": "web", "description": "the front"}, tx)
    assert group == store.get(GROUP, group["id"])
    assert said(group["security_group_rules"]) == {("egress", "IPv4", None), ("egress", "IPv6", None)}
    assert (group["project_id"], group["tenant_id"], group["shared"], group["tags"]) == (ME, ME, False, [])
    assert (group["revision_number"], group["stateful"]) == (1, True)
    assert tx.counted == {(ME, "security_group_rule"): 2}
    quotas.settle(tx)
    # With the project's default group, which was not there; the plugin counts the new one.
    assert store.used() == {"security_group": 1, "security_group_rule": 6}


def test_names_may_repeat(store: Store) -> None:
    assert len({store.group(name="same")["id"] for _ in range(3)}) == 3
    assert len(store.find(GROUP, name="same")) == 3


@pytest.mark.parametrize(
    "changes", [{"name": "n"}, {"description": "d"}, {"stateful": False}, {"name": "n", "stateful": False}]
)
def test_a_change_counts_the_revision(store: Store, changes: dict[str, Any]) -> None:
    group = store.group(name="web")
    changed = store.update(group, **changes)
    assert changed == group | changes | {"revision_number": 2, "updated_at": changed["updated_at"]}
    assert store.get(GROUP, group["id"]) == changed
    assert store.update(group, **changes)["revision_number"] == 2  # nothing new


@pytest.mark.parametrize(
    "given", [{"name": "x" * 256}, {"name": True}, {"stateful": "maybe"}, {"shared": True}, {"x": 1}]
)
def test_bad_attributes_of_groups(store: Store, given: dict[str, Any]) -> None:
    with pytest.raises(errors.BadRequest):
        store.group(**given)


def test_a_group_with_ports_stays_and_stays_stateful(store: Store) -> None:
    group = store.group(name="web")
    store.port(group["id"])
    with pytest.raises(errors.SecurityGroupInUse):
        store.delete(GROUP, group["id"])
    with pytest.raises(errors.SecurityGroupInUse):
        store.update(group, stateful=False)
    assert store.update(group, stateful=True, name="w")["name"] == "w"


def test_with_a_group_go_its_rules_and_those_that_name_it(store: Store) -> None:
    gone, stays = store.group(name="gone"), store.group(name="stays")
    store.rule(gone, protocol="tcp")
    store.rule(stays, remote_group_id=gone["id"])
    before = store.get(GROUP, stays["id"])["revision_number"]
    tx = store.delete(GROUP, gone["id"])
    assert tx.counted == {(ME, "security_group_rule"): -4}  # two first ones, tcp, and the other group's
    after = store.get(GROUP, stays["id"])
    assert said(after["security_group_rules"]) == {("egress", "IPv4", None), ("egress", "IPv6", None)}
    assert after["revision_number"] == before + 1
    with pytest.raises(errors.SecurityGroupNotFound):
        store.get(GROUP, gone["id"])


@pytest.mark.parametrize("target", [OTHER, "*"])
def test_others_see_a_group_only_if_it_is_shared(store: Store, target: str) -> None:
    group = store.group(name="web")
    store.rule(group, protocol="tcp")
    with pytest.raises(errors.SecurityGroupNotFound):
        store.get(GROUP, group["id"], member(OTHER))
    assert store.find(GROUP, member(OTHER)) == []
    store.share(group, target)
    seen = store.get(GROUP, group["id"], member(OTHER))
    assert seen["shared"] is True
    assert len(seen["security_group_rules"]) == 3
    assert [g["id"] for g in store.find(GROUP, member(OTHER), shared="true")] == [group["id"]]
    assert store.find(GROUP, member(OTHER), shared="false") == []
    assert store.find(RULE, member(OTHER)) == []  # by itself, a rule is its group's owner's
    with pytest.raises(errors.SecurityGroupRuleNotFound):
        store.row(RULE, seen["security_group_rules"][0]["id"], member(OTHER))


def test_a_list_takes_a_fixed_number_of_statements(store: Store) -> None:
    def statements_for(count: int) -> int:
        for _ in range(count):
            store.rule(store.group(), protocol="udp")
        seen: list[str] = []

        def listener(*args: Any) -> None:
            seen.append(args[2])

        sa.event.listen(store.connection, "before_cursor_execute", listener)
        store.find(GROUP)
        store.find(RULE)
        sa.event.remove(store.connection, "before_cursor_execute", listener)
        return len(seen)

    assert statements_for(1) == statements_for(20)


# --- rules -----------------------------------------------------------------------------------------------------------


def test_a_rule_is_shown_alone_as_in_its_group(store: Store) -> None:
    group = store.group(name="web")
    rule = store.rule(
        group, protocol="TCP", port_range_min="80", port_range_max=81, remote_ip_prefix="10.0.0.34/24", description="d"
    )
    assert rule | {"created_at": "", "updated_at": "", "id": ""} == {
        "id": "",
        "project_id": ME,
        "tenant_id": ME,
        "security_group_id": group["id"],
        "ethertype": "IPv4",
        "direction": "ingress",
        "protocol": "tcp",
        "port_range_min": 80,
        "port_range_max": 81,
        "remote_ip_prefix": "10.0.0.34/24",
        "remote_address_group_id": None,
        "normalized_cidr": "10.0.0.0/24",
        "remote_group_id": None,
        "belongs_to_default_sg": False,
        "description": "d",
        "created_at": "",
        "updated_at": "",
        "revision_number": 1,
    }
    assert store.get(RULE, rule["id"]) == rule
    shown = store.get(GROUP, group["id"])
    assert {**rule, "tags": []} in shown["security_group_rules"]
    assert {r["description"] for r in shown["security_group_rules"]} == {"d", None}
    assert store.find(RULE, description="") == []  # those that a group begins with have none at all
    assert shown["revision_number"] == 2
    assert store.find(RULE, protocol="tcp", normalized_cidr="10.0.0.0/24", port_range_min="80") == [rule]
    store.delete(RULE, rule["id"])
    assert store.get(GROUP, group["id"])["revision_number"] == 3
    assert len(store.get(GROUP, group["id"])["security_group_rules"]) == 2


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"direction": "sideways"}, errors.BadRequest),
        ({"remote_address_group_id": str(uuid.uuid4())}, errors.AddressGroupNotFound),
        ({"protocol": "bad_protocol_name"}, errors.SecurityGroupRuleInvalidProtocol),
        ({"port_range_min": -16, "port_range_max": 80}, errors.SecurityGroupInvalidPortValue),
        ({"remote_ip_prefix": "bad_prefix"}, errors.InvalidCIDR),
        ({"protocol": "ipv6-icmp"}, errors.SecurityGroupEthertypeConflictWithProtocol),
        ({"remote_group_id": "bad_group_id"}, errors.SecurityGroupNotFound),
        ({"remote_group_id": str(uuid.uuid4())}, errors.SecurityGroupNotFound),
        ({"security_group_id": str(uuid.uuid4())}, errors.SecurityGroupNotFound),
        ({"security_group_id": "bad_group_id"}, errors.SecurityGroupNotFound),
    ],
)
@pytest.mark.parametrize("context", [member(), ADMIN])
def test_bad_rules(
    store: Store, context: RequestContext, given: dict[str, Any], error: type[errors.NetworkingError]
) -> None:
    group = store.group(name="web")
    with pytest.raises(error):
        store.rule(group, store.tx(context), **given)


def test_a_rule_needs_a_direction_and_a_group(store: Store) -> None:
    for given in ({"direction": "egress"}, {"security_group_id": str(uuid.uuid4())}):
        with pytest.raises(errors.HTTPBadRequest, match="needs the attribute"):
            store.make(RULE, given)


def test_others_groups_are_not_there_for_rules(store: Store) -> None:
    mine, theirs = store.group(name="mine"), store.group(member(OTHER), name="theirs")
    with pytest.raises(errors.SecurityGroupNotFound):
        store.rule(theirs)
    with pytest.raises(errors.SecurityGroupNotFound):
        store.rule(mine, remote_group_id=theirs["id"])
    store.share(theirs, ME)
    assert store.rule(mine, remote_group_id=theirs["id"])["remote_group_id"] == theirs["id"]


def test_the_owner_of_a_group_sees_the_rules_that_an_admin_adds(store: Store) -> None:
    group = store.group(name="web")
    rule = store.rule(group, store.tx(ADMIN), protocol="udp")
    assert rule["project_id"] == ADMIN.project_id
    assert store.get(RULE, rule["id"]) == rule
    assert rule in store.find(RULE, security_group_id=group["id"])


def test_no_group_has_a_rule_twice(store: Store) -> None:
    group = store.group(name="web")
    given: dict[str, Any] = {"protocol": "tcp", "port_range_min": 66, "port_range_max": 67}
    rule = store.rule(group, **given)
    with pytest.raises(errors.SecurityGroupRuleExists, match=rule["id"]):
        store.rule(group, **given, description="the same in other words", remote_ip_prefix="0.0.0.0/0")
    store.rule(store.group(name="another"), **given)


def test_a_request_for_many_rules(store: Store) -> None:
    group, other = store.group(name="web"), store.group(name="other")
    tx = store.tx()
    for number in range(1, 20):
        store.rule(group, tx, protocol="tcp", port_range_min=number, port_range_max=number)
    with pytest.raises(errors.DuplicateSecurityGroupRuleInPost):
        store.rule(group, tx, protocol="tcp", port_range_min=3, port_range_max=3)
    with pytest.raises(errors.SecurityGroupNotSingleGroupRules):
        store.rule(other, tx, protocol="tcp")
    assert store.get(GROUP, group["id"])["revision_number"] == 2

    admin = store.tx(ADMIN)
    store.rule(group, admin, protocol="udp", project_id=ME)
    with pytest.raises(errors.SecurityGroupRulesNotSingleProject):
        store.rule(group, admin, protocol="sctp", project_id=OTHER)


def test_rules_of_default_groups_can_be_told_from_others(store: Store) -> None:
    group = store.group(name="web")
    rules = store.find(RULE, belongs_to_default_sg="true")
    assert len(rules) == 4
    assert all(rule["belongs_to_default_sg"] for rule in rules)
    assert {rule["security_group_id"] for rule in store.find(RULE, belongs_to_default_sg="false")} == {group["id"]}


# --- what new groups begin with --------------------------------------------------------------------------------------


def test_new_groups_begin_with_the_rules_that_are_set(store: Store) -> None:
    ssh: dict[str, Any] = {"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    with pytest.raises(errors.HTTPBadRequest, match="used_in_default_sg"):
        store.make(TEMPLATE, ssh, store.tx(ADMIN))
    ssh |= {"used_in_default_sg": False, "used_in_non_default_sg": True}
    made = store.make(TEMPLATE, {**ssh, "remote_ip_prefix": "10.0.0.1/8"}, store.tx(ADMIN))
    assert set(made) == set(TEMPLATE.attributes.by_name)
    group = store.group(name="web")
    (rule,) = store.find(RULE, protocol="tcp")
    assert rule["security_group_id"] == group["id"]
    assert (rule["remote_ip_prefix"], rule["normalized_cidr"]) == ("10.0.0.1/8", "10.0.0.0/8")
    store.delete(TEMPLATE, made["id"], ADMIN)
    assert len(store.group(name="db")["security_group_rules"]) == 2


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ((True, True), (True, False), True),
        ((True, True), (False, True), True),
        ((True, False), (False, True), False),
        ((False, True), (False, True), True),
    ],
)
def test_the_same_rule_is_set_once_for_each_kind_of_group(
    store: Store, first: tuple[bool, bool], second: tuple[bool, bool], clash: bool
) -> None:
    def make(tx: Transaction, uses: tuple[bool, bool]) -> Object:
        given = {"direction": "ingress", "protocol": "udp", "port_range_min": 7, "port_range_max": 7}
        given |= {"used_in_default_sg": uses[0], "used_in_non_default_sg": uses[1]}
        return store.make(TEMPLATE, given, tx)

    make(store.tx(ADMIN), first)
    if not clash:
        make(store.tx(ADMIN), second)
        return
    with pytest.raises(errors.DefaultSecurityGroupRuleExists):
        make(store.tx(ADMIN), second)


def test_a_remote_group_of_new_groups_is_there_as_long_as_the_rule(store: Store) -> None:
    friend = store.group(name="friend")
    both = {"direction": "ingress", "used_in_default_sg": True, "used_in_non_default_sg": True}
    with pytest.raises(errors.SecurityGroupNotFound):
        store.make(TEMPLATE, {**both, "remote_group_id": str(uuid.uuid4())}, store.tx(ADMIN))
    made = store.make(TEMPLATE, {**both, "remote_group_id": friend["id"]}, store.tx(ADMIN))
    assert ("ingress", "IPv4", friend["id"]) in said(store.group(name="web")["security_group_rules"])
    store.delete(GROUP, friend["id"])
    with pytest.raises(errors.DefaultSecurityGroupRuleNotFound):
        store.get(TEMPLATE, made["id"], ADMIN)
    assert len(store.group(name="db")["security_group_rules"]) == 2


# --- the groups of ports ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enabled", "groups", "given", "pairs", "error"),
    [
        (True, ["g"], True, [{}], None),
        (False, [], True, [], None),
        (False, [], False, [], None),
        (False, ["g"], True, [], errors.PortSecurityAndIPRequiredForSecurityGroups),
        (False, ["g"], False, [], errors.PortSecurityPortHasSecurityGroup),
        (False, [], False, [{}], errors.AddressPairAndPortSecurityRequired),
    ],
)
def test_what_needs_port_security(
    enabled: bool, groups: list[str], given: bool, pairs: list[Any], error: type[Exception] | None
) -> None:
    def check() -> None:
        security_groups.check_port_security(enabled, groups=groups, groups_given=given, pairs=pairs)

    if error is None:
        check()
        return
    with pytest.raises(error):
        check()


def test_the_groups_of_a_new_port(store: Store) -> None:
    web, db = store.group(name="web"), store.group(name="db")
    ids = sorted([web["id"], db["id"]])

    def groups(wanted: list[str] | None, *, port_security: bool = True, trusted_owner: bool = False) -> list[str]:
        return security_groups.for_port(
            store.tx(), ME, wanted, port_security=port_security, trusted_owner=trusted_owner
        )

    assert groups(None) == [security_groups.default_group_id(store.tx(), ME)]
    assert groups([]) == []
    assert groups(ids[::-1]) == ids
    assert groups(None, trusted_owner=True) == groups(ids, trusted_owner=True) == []
    assert groups(None, port_security=False) == groups([], port_security=False) == []
    with pytest.raises(errors.PortSecurityAndIPRequiredForSecurityGroups):
        groups(ids, port_security=False)


def test_groups_that_a_port_cannot_be_in(store: Store) -> None:
    mine, theirs = store.group(name="mine"), store.group(member(OTHER), name="theirs")
    stateless = store.group(name="stateless", stateful=False)

    def groups(*wanted: str, context: RequestContext | None = None) -> list[str]:
        return security_groups.for_port(store.tx(context), ME, list(wanted), port_security=True, trusted_owner=False)

    for unknown in (theirs["id"], str(uuid.uuid4())):
        with pytest.raises(errors.SecurityGroupNotFound, match=unknown):
            groups(mine["id"], unknown)
    with pytest.raises(errors.SecurityGroupConflict):
        groups(mine["id"], stateless["id"])
    assert groups(stateless["id"]) == [stateless["id"]]
    assert groups(theirs["id"], context=ADMIN) == [theirs["id"]]
    store.share(theirs, ME)
    assert groups(theirs["id"]) == [theirs["id"]]


def test_ports_go_into_and_out_of_groups(store: Store) -> None:
    web, db = store.group(name="web")["id"], store.group(name="db")["id"]
    one, two, none = store.port(web), store.port(web, db), store.port()
    assert security_groups.of_ports(store.tx(), [one, two, none]) == {one: [web], two: sorted([web, db])}
    assert security_groups.of_ports(store.tx(), []) == {}
    security_groups.rebind(store.tx(), one, [db])
    security_groups.rebind(store.tx(), two, [])
    assert security_groups.of_ports(store.tx(), [one, two, none]) == {one: [db]}

    def ports_in(*wanted: Any) -> set[str]:
        matches = security_groups.PORT_FILTERS["security_groups"](store.tx(), wanted)
        return set(store.connection.execute(sa.select(ports.c.id).where(matches)).scalars())

    security_groups.rebind(store.tx(), two, [web])
    assert ports_in(web) == {two}
    assert ports_in(web, db) == ports_in([web, db]) == {one, two}
    assert ports_in(str(uuid.uuid4())) == set()
