"""The language of policy rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.network.context import RequestContext
from cove.network.policy.checks import Caller, specialise, verify
from cove.network.policy.language import (
    ALWAYS,
    NEVER,
    And,
    Check,
    Constant,
    Not,
    Or,
    Rule,
    RuleSyntaxError,
    checks,
    parse,
)

A, B, C = Check("role", "a"), Check("role", "b"), Check("role", "c")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", ALWAYS),
        ("@", ALWAYS),
        ("!", NEVER),
        ("role:a", A),
        ("not role:a", Not(A)),
        ("not not role:a", Not(Not(A))),
        ("role:a or role:b or role:c", Or((A, B, C))),
        ("role:a and role:b or role:c", Or((And((A, B)), C))),
        ("role:a or role:b and role:c", Or((A, And((B, C))))),
        ("(role:a or role:b) and role:c", And((Or((A, B)), C))),
        ("((role:a))", A),
        ("( role:a  or\nrole:b ) and role:c", And((Or((A, B)), C))),
        ("not (role:a or role:b)", Not(Or((A, B)))),
        ("not role:a and role:b", And((Not(A), B))),
        ("role:a AND NOT role:b", And((A, Not(B)))),
        ("(project_id:%(project_id)s)", Check("project_id", "%(project_id)s")),
        ("(field:port:device_owner=~^(network|compute):)", Check("field", "port:device_owner=~^(network|compute):")),
        ("field:networks:router:external=True", Check("field", "networks:router:external=True")),
    ],
)
def test_texts_and_what_they_mean(text: str, rule: Rule) -> None:
    assert parse(text) == rule


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "ends where a check should follow"),
        ("role:a role:b", "missing before 'role:b'"),
        ("role:a or", "ends where a check should follow"),
        ("and role:a", "missing before 'and'"),
        ("(role:a", "a ) is missing"),
        ("role:a)", "a ) too many"),
        ("()", "missing before ')'"),
        ("not", "ends where"),
        ("admin", "'admin' is no check"),
        (":admin", "is no check"),
        ("role:a)or(role:b", "blanks are missing"),
        ("(" * 60 + "role:a" + ")" * 60, "nested more than 50"),
        ("not " * 60 + "role:a", "nested more than 50"),
        ("role:" + "a" * 10_000, "characters; at most"),
    ],
)
def test_what_is_no_rule_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        parse(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://server/%(id)s", "not supported"),
        ("rol:admin", "unknown kind"),
        ("project_id:abc", "compares with nothing of the target"),
        ("role:%s", "uses % otherwise"),
        ("field:networks:shared", "not of the form"),
        ("field:port:device_owner=~(", "no regular expression"),
        ("field:networks", "not of the form"),
    ],
)
def test_checks_that_could_never_be_decided_are_refused(text: str, reason: str) -> None:
    (check,) = checks(parse(text))
    with pytest.raises(RuleSyntaxError) as caught:
        verify(check)
    assert reason in str(caught.value)


# --- properties ------------------------------------------------------------------------------------------------------

ROLES = ("admin", "member", "reader")
leaves = st.one_of(
    st.sampled_from([ALWAYS, NEVER]),
    st.sampled_from([Check("role", role) for role in ROLES]),
    st.sampled_from(
        [
            Check("project_id", "%(project_id)s"),
            Check("project_id", "%(network:project_id)s"),
            Check("field", "networks:shared=True"),
            Check("field", "port:device_owner=~^network:"),
            Check("user_id", "%(user_id)s"),
            Check("'x'", "%(name)s"),
            Check("rule", "other"),
        ]
    ),
)
rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=20,
)
contexts = st.builds(
    RequestContext,
    project_id=st.sampled_from(["p1", "p2"]),
    user_id=st.sampled_from(["u1", "u2"]),
    roles=st.frozensets(st.sampled_from(ROLES)),
)
object_values: Any = st.fixed_dictionaries(
    {},
    optional={
        "project_id": st.sampled_from(["p1", "p2", None]),
        "network:project_id": st.sampled_from(["p1", "p2"]),
        "shared": st.booleans(),
        "network:shared": st.booleans(),
        "device_owner": st.sampled_from(["", "network:dhcp", "compute:nova"]),
        "user_id": st.sampled_from(["u1", "u2"]),
        "name": st.sampled_from(["x", "y"]),
    },
)


@given(rules)
def test_a_rule_written_out_is_read_as_the_same_rule(rule: Rule) -> None:
    assert parse(str(rule)) == rule


@given(st.text(alphabet=st.sampled_from("()rola:dn ot%s@!\"'=~"), max_size=60))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = parse(text)
    except RuleSyntaxError:
        return
    assert parse(str(rule)) == rule


def by_the_book(rule: Rule, context: RequestContext, target: dict[str, Any], other: Rule) -> bool:
    """What a rule says, without any cleverness."""
    match rule:
        case Constant(value):
            return value
        case Not(part):
            return not by_the_book(part, context, target, other)
        case And(parts):
            return all(by_the_book(part, context, target, other) for part in parts)
        case Or(parts):
            return any(by_the_book(part, context, target, other) for part in parts)
        case Check("role", name):
            return name in context.roles
        case Check("rule", _):
            return by_the_book(other, context, target, NEVER)
        case Check("project_id", match):
            return target.get(match[2:-2]) == context.project_id
        case Check("user_id", _):
            return target.get("user_id") == context.user_id
        case Check("'x'", _):
            return target.get("name") == "x"
        case Check("field", "networks:shared=True"):
            return bool(target["shared"] if "shared" in target else target.get("network:shared"))
        case _:
            return str(target.get("device_owner", "")).startswith("network:")


@given(
    rules, leaves.filter(lambda leaf: not (isinstance(leaf, Check) and leaf.kind == "rule")), contexts, object_values
)
def test_a_rule_made_for_a_caller_decides_as_the_rule(
    rule: Rule, other: Rule, context: RequestContext, target: dict[str, Any]
) -> None:
    caller = Caller.of(context)
    decision = specialise(rule, caller, lambda _name: specialise(other, caller, lambda _none: False))
    decided = decision if isinstance(decision, bool) else decision(target)
    assert decided is by_the_book(rule, context, target, other)


# --- single checks ---------------------------------------------------------------------------------------------------

CALLER = RequestContext(
    project_id="p1", user_id="u1", roles=frozenset({"Member"}), is_admin=False, system_scope="all", domain_id="d1"
)


@pytest.mark.parametrize(
    ("text", "target", "decision"),
    [
        ("role:member", {}, True),
        ("role:MEMBER", {}, True),
        ("role:%(wanted)s", {"wanted": "member"}, True),
        ("role:%(wanted)s", {}, False),
        ("tenant_id:%(tenant_id)s", {"tenant_id": "p1"}, True),
        ("project_id:%(project_id)s", {"project_id": None}, False),
        ("project_id:%(project_id)s", {}, False),
        ("user_id:%(user_id)s", {"user_id": "u2"}, False),
        ("system_scope:all", {}, True),
        ("domain_id:%(domain)s", {"domain": "d1"}, True),
        ("is_admin:True", {}, False),
        ("is_admin:False", {}, True),
        ("service_roles:service", {}, False),
        ("'net-7':net-%(number)s", {"number": 7}, True),
        ("True:%(enabled)s", {"enabled": True}, True),
        ("'100%':100%%", {}, True),
        ("field:networks:shared=True", {"shared": True}, True),
        ("field:networks:shared=true", {"shared": True}, True),
        ("field:networks:shared=False", {"shared": False}, True),
        ("field:networks:shared=True", {"shared": None}, False),
        ("field:networks:shared=True", {}, False),
        ("field:networks:shared=True", {"network:shared": True}, True),
        ("field:networks:shared=True", {"shared": False, "network:shared": True}, False),
        ("field:security_groups:shared=True", {"security_group:shared": True}, True),
        ("field:subnets:router:external=True", {"network:router:external": True}, True),
        ("field:networks:mtu=1500", {"mtu": 1500}, True),
        ("field:port:device_owner=~^network:", {"device_owner": "network:dhcp"}, True),
        ("field:port:device_owner=~^network:", {"device_owner": "a network:"}, False),
        ("field:port:device_owner=~^network:", {"device_owner": 5}, False),
        ("field:port:name=", {"name": ""}, True),
    ],
)
def test_checks(text: str, target: dict[str, Any], decision: bool) -> None:
    rule = parse(text)
    for check in checks(rule):
        verify(check)
    made = specialise(rule, Caller.of(CALLER), lambda _name: False)
    assert (made if isinstance(made, bool) else made(target)) is decision


def test_who_has_no_project_does_not_own_what_has_none() -> None:
    nobody = Caller.of(RequestContext(project_id="", roles=frozenset()))
    assert specialise(parse("project_id:%(project_id)s"), nobody, lambda _name: True) is False


def test_what_does_not_look_at_the_target_is_decided_beforehand() -> None:
    member = Caller.of(RequestContext(project_id="p1", roles=frozenset({"member"})))
    assert (
        specialise(parse("role:admin or (role:reader and project_id:%(project_id)s)"), member, lambda _: True) is False
    )
    assert specialise(parse("role:member or project_id:%(project_id)s"), member, lambda _name: True) is True
