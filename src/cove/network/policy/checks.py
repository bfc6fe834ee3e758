"""From a rule's tree to something that decides: specialised to one caller.

Whatever only depends on the caller (its roles, its ids) is decided while compiling. What is left of a rule is True,
False, or a closure that looks at the target: for most callers and rules nothing is left, and a list of a thousand
objects costs a thousand look-ups of a constant.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cove.network.context import RequestContext
from cove.network.policy.language import And, Check, Constant, Not, Or, Rule, RuleSyntaxError, keys, template

Target = Mapping[str, Any]
Decide = Callable[[Target], bool]
Decision = bool | Decide
"""True or False where the target does not matter."""

CALLER_KINDS = frozenset(
    {
        "project_id",
        "tenant_id",
        "tenant",
        "project_name",
        "tenant_name",
        "user_id",
        "user",
        "user_name",
        "domain_id",
        "system_scope",
        "is_admin",
        "service_roles",
    }
)
"""What a check may compare with a match, beside roles, rules, fields and literals: the caller's own values."""

_OWNER_KINDS = frozenset({"project_id", "tenant_id", "tenant"})
_PARENTS = ("network:", "security_group:")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as rules see it."""

    roles: frozenset[str]
    values: Mapping[str, Any]

    @classmethod
    def of(cls, context: RequestContext) -> Caller:
        """The caller of a request."""
        return cls(
            roles=frozenset(role.lower() for role in context.roles),
            values={
                "project_id": context.project_id,
                "tenant_id": context.project_id,
                "tenant": context.project_id,
                "project_name": context.project_name,
                "tenant_name": context.project_name,
                "user_id": context.user_id,
                "user": context.user_id,
                "user_name": context.user_name,
                "domain_id": context.domain_id,
                "system_scope": context.system_scope,
                "is_admin": context.is_admin,
                # A token that a service sends along with a user's is not a thing of Cove.
                "service_roles": (),
            },
        )


def verify(check: Check) -> None:
    """Raises RuleSyntaxError for a check that could never be decided. Not for `rule:`, which needs all the rules."""
    kind, match = check.kind, check.match
    if kind == "rule":
        return
    if kind == "field":
        _field(match)
        return
    if kind in ("http", "https"):
        raise RuleSyntaxError(f"{str(check)!r}: asking another server is not supported")
    template(match)
    if kind in _OWNER_KINDS and not keys(match):
        raise RuleSyntaxError(f"{str(check)!r} compares with nothing of the target; write {kind}:%(project_id)s")
    if kind == "role" or kind in CALLER_KINDS:
        return
    try:
        ast.literal_eval(kind)
    except (ValueError, SyntaxError):
        known = ", ".join(sorted({"role", "rule", "field", *CALLER_KINDS}))
        raise RuleSyntaxError(f"{str(check)!r} is of an unknown kind; known are {known}, and literals") from None


def specialise(rule: Rule, caller: Caller, lookup: Callable[[str], Decision]) -> Decision:
    """What is left of a rule for a caller; `lookup` gives the same of another rule by its name."""
    match rule:
        case Constant(value):
            return value
        case Not(part):
            return _negated(specialise(part, caller, lookup))
        case And(parts):
            return _joined((specialise(part, caller, lookup) for part in parts), stops_at=False)
        case Or(parts):
            return _joined((specialise(part, caller, lookup) for part in parts), stops_at=True)
        case Check("rule", name):
            return lookup(name)
        case Check("field", text):
            return _field(text)
        case Check("role", text):
            return _compared(text, lambda value: value.lower() in caller.roles)
        case Check(kind, text) if kind in caller.values:
            return _caller_check(caller.values[kind], kind, text)
        case Check(kind, text):
            literal = str(ast.literal_eval(kind))
            return _compared(text, lambda value: value == literal)


def _negated(decision: Decision) -> Decision:
    if isinstance(decision, bool):
        return not decision
    decide = decision
    return lambda target: not decide(target)


def _joined(decisions: Iterable[Decision], *, stops_at: bool) -> Decision:
    """`or` (stops at True) or `and` (stops at False), without the parts that do not matter."""
    left: list[Decide] = []
    for decision in decisions:
        if decision is stops_at:
            return stops_at
        if not isinstance(decision, bool):
            left.append(decision)
    if not left:
        return not stops_at
    if len(left) == 1:
        return left[0]
    if len(left) == 2:
        first, second = left
        if stops_at:
            return lambda target: first(target) or second(target)
        return lambda target: first(target) and second(target)
    several = tuple(left)
    if stops_at:
        return lambda target: any(decide(target) for decide in several)
    return lambda target: all(decide(target) for decide in several)


# --- single checks ---------------------------------------------------------------------------------------------------


def _caller_check(own: Any, kind: str, text: str) -> Decision:
    if isinstance(own, tuple):
        return _compared(text, lambda value: value in own)
    if own == "":
        return False  # who has no project owns nothing, not even what belongs to nobody
    mine = str(own)
    return _compared(text, lambda value: value == mine, equal_to=mine)


def _compared(text: str, test: Callable[[str], bool], equal_to: str | None = None) -> Decision:
    """A match, filled in from the target where it says so, put to a test. What the target lacks fails it."""
    parts = template(text)
    if len(parts) == 1:
        return test(parts[0][0])
    if len(parts) == 2 and not parts[0][0] and not parts[1][0]:
        key = parts[0][1]
        if equal_to is not None:

            def same(target: Target) -> bool:
                value: Any = target.get(key)
                return bool(value == equal_to) or (value is not None and str(value) == equal_to)

            return same

    def filled(target: Target) -> bool:
        words = []
        for before, name in parts:
            words.append(before)
            if name:
                value = target.get(name)
                if value is None:
                    return False
                words.append(str(value))
        return test("".join(words))

    return filled


def _field(text: str) -> Decide:
    """`field:RESOURCE:NAME=VALUE` or `=~REGEX`: an attribute of the target, or else of its parent."""
    _resource, _, condition = text.partition(":")
    name, equals, wanted = condition.partition("=")
    if not equals or not name:
        raise RuleSyntaxError(f"'field:{text}' is not of the form field:RESOURCE:ATTRIBUTE=VALUE")
    test = _field_test(text, wanted)
    parents = tuple(parent + name for parent in _PARENTS)

    def decide(target: Target) -> bool:
        value = target.get(name)
        if value is None and name not in target:
            for parent in parents:
                if parent in target:
                    value = target[parent]
                    break
        return value is not None and test(value)

    return decide


def _field_test(text: str, wanted: str) -> Callable[[Any], bool]:
    if wanted.startswith("~"):
        try:
            matches = re.compile(wanted[1:]).match
        except re.error as error:
            raise RuleSyntaxError(f"'field:{text}': {wanted[1:]!r} is no regular expression: {error}") from None
        return lambda value: isinstance(value, str) and matches(value) is not None
    truth = {"true": True, "false": False}.get(wanted.lower())

    def equal(value: Any) -> bool:
        return value is truth if isinstance(value, bool) else str(value) == wanted

    return equal
