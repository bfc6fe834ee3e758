"""The policy as the core plugin and the routes see it.

Rules are compiled once for each kind of caller (project, user, roles) and kept: a request asks for what is already
decided, or for a closure that looks at the target.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cove.network import errors
from cove.network.context import RequestContext
from cove.network.policy import files
from cove.network.policy.checks import Caller, Decide, Decision, Target, specialise
from cove.network.policy.language import Rule

CALLERS_MAX = 256
"""Callers whose compiled rules are kept; the oldest makes room."""
_FIXED = frozenset({"id", "project_id", "tenant_id"})
"""Attributes that no change can touch, whatever a request says."""


class _Compiled:
    """The rules as one caller meets them, compiled when first asked for."""

    def __init__(
        self, rules: Mapping[str, Rule], guards: Mapping[str, tuple[str, ...]], context: RequestContext
    ) -> None:
        self._rules = rules
        self._guard_names = guards
        self._caller = Caller.of(context)
        self._decisions: dict[str, Decision] = {}
        self._guards: dict[str, dict[str, Decision]] = {}
        self._hidden: dict[str, tuple[frozenset[str], tuple[tuple[str, Decide], ...]]] = {}
        # The API is for tokens that are scoped to a project (Neutron: scope_types of its rules); not for those of the
        # system or a domain, nor for unscoped ones: "shared" means with all projects, not with whoever has a password.
        in_project = bool(context.project_id) or context.is_admin  # the service itself is in none
        self._in_scope = in_project and not context.system_scope and not context.domain_id

    def rule(self, name: str) -> Decision:
        """A rule by its name; one that there is not is the rule `default`."""
        decision = self._decisions.get(name)
        if decision is None:
            rule = self._rules.get(name)
            decision = specialise(rule, self._caller, self.rule) if rule is not None else self.rule("default")
            self._decisions[name] = decision
        return decision

    def allows(self, action: str, target: Target) -> bool:
        decision = self.rule(action) if self._in_scope else False
        return decision if isinstance(decision, bool) else decision(target)

    def guards(self, action: str) -> Mapping[str, Decision]:
        """The rules below an action: attribute, or attribute:key, → who may."""
        guards = self._guards.get(action)
        if guards is None:
            guards = {name: self.rule(f"{action}:{name}") for name in self._guard_names.get(action, ())}
            self._guards[action] = guards
        return guards

    def hidden(self, resource: str, target: Target) -> frozenset[str]:
        split = self._hidden.get(resource)
        if split is None:
            guards = self.guards(f"get_{resource}")
            split = (
                frozenset(name for name, decision in guards.items() if decision is False),
                tuple((name, decision) for name, decision in guards.items() if not isinstance(decision, bool)),
            )
            self._hidden[resource] = split
        always, depending = split
        if not depending:
            return always
        more = [name for name, decide in depending if not decide(target)]
        return always.union(more) if more else always


class Policy:
    """All rules, compiled.

    `target` is the object of the action as the API shows it; where the object belongs to another one, also what
    rules ask of that: `network:project_id`, `network:tenant_id`, `network:shared`, `network:router:external` (subnets,
    ports) and `security_group:project_id` (rules of a security group). What a rule asks for and a target lacks does
    not match. Any thread may use it.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = rules
        guards: dict[str, tuple[str, ...]] = {}
        for name in rules:
            action, colon, attribute = name.partition(":")
            if colon:
                guards[action] = (*guards.get(action, ()), attribute)
        self._guards = guards
        self._compiled: dict[tuple[Any, ...], _Compiled] = {}
        self._last: tuple[RequestContext | None, _Compiled | None] = (None, None)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, overrides: Path | None = None, *, attributes: Mapping[str, Collection[str]] | None = None) -> Policy:
        """The rules of policy.toml, with those that the operator's file names in their place.

        `attributes` (resource → names) is what an operator's rule for an attribute may name; None allows any.
        Raises PolicyError.
        """
        return cls(files.load(overrides, attributes))

    # --- who asks ----------------------------------------------------------------------------------------------------

    def is_admin(self, context: RequestContext) -> bool:
        """Whether the caller's roles make it an admin (rule `context_is_admin`): for `RequestContext.is_admin`."""
        return self._is("context_is_admin", context)

    def sees_all(self, context: RequestContext) -> bool:
        """Whether reads are not confined to the caller's project: an admin, a service, whoever was given that.

        The rules `context_is_admin`, `context_with_global_access`, `service_api` and `context_is_advsvc`. What is then
        shown is still up to the rules `get_...`.
        """
        return (
            self._is("context_is_admin", context)
            or self._is("context_with_global_access", context)
            or self._is("service_api", context)
            or self._is("context_is_advsvc", context)
        )

    def _is(self, rule: str, context: RequestContext) -> bool:
        decision = self._for(context).rule(rule)
        if isinstance(decision, bool):
            return decision
        return decision({"project_id": context.project_id, "tenant_id": context.project_id, "user_id": context.user_id})

    # --- what it may do ----------------------------------------------------------------------------------------------

    def allows(self, action: str, context: RequestContext, target: Target) -> bool:
        """Whether the caller may do it. An action without a rule of its own is decided by the rule `default`."""
        return self._for(context).allows(action, target)

    def check(self, action: str, context: RequestContext, target: Target) -> None:
        """Raises PolicyNotAuthorized (403) if not `allows`."""
        if not self._for(context).allows(action, target):
            raise errors.PolicyNotAuthorized(action=action)

    def check_create(self, context: RequestContext, resource: str, target: Target, given: Mapping[str, Any]) -> None:
        """create_<resource>, then create_<resource>:<attribute>[:<key>] for what the client gave.

        `target`: the object that would be made (project_id filled in) with its parent's keys. `given`: the values that
        the client said itself and that are not the defaults (`AttributeTable.given_by_client`): asking for what one
        gets anyway is no privilege. Raises PolicyNotAuthorized (403).
        """
        self._check_attributes(context, f"create_{resource}", target, given)

    def check_update(self, context: RequestContext, resource: str, target: Target, changes: Mapping[str, Any]) -> None:
        """update_<resource>, then update_<resource>:<attribute>[:<key>] for each of the changes.

        `target`: the object as it is; rules see it with the changes made. Raises PolicyNotAuthorized (403).
        """
        changed = {**target, **{name: value for name, value in changes.items() if name not in _FIXED}}
        self._check_attributes(context, f"update_{resource}", changed, changes)

    def check_delete(self, context: RequestContext, resource: str, target: Target) -> None:
        """delete_<resource>. Raises PolicyNotAuthorized (403)."""
        self.check(f"delete_{resource}", context, target)

    def may_get(self, context: RequestContext, resource: str, target: Target) -> bool:
        """get_<resource>."""
        return self._for(context).allows(f"get_{resource}", target)

    def hidden(self, context: RequestContext, resource: str, target: Target) -> frozenset[str]:
        """The attributes that get_<resource>:<attribute> refuses, to be left out of an answer."""
        return self._for(context).hidden(resource, target)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _check_attributes(self, context: RequestContext, action: str, target: Target, given: Mapping[str, Any]) -> None:
        compiled = self._for(context)
        if not compiled.allows(action, target):
            raise errors.PolicyNotAuthorized(action=action)
        guards = compiled.guards(action)
        for name in _guarded(given):
            decision = guards.get(name, True)
            if decision is not True and (decision is False or not decision(target)):
                raise errors.PolicyNotAuthorized(action=f"{action}:{name}")

    def _for(self, context: RequestContext) -> _Compiled:
        last, compiled = self._last
        if last is context and compiled is not None:
            return compiled
        key = (
            context.project_id,
            context.user_id,
            context.roles,
            context.is_admin,
            context.domain_id,
            context.system_scope,
            context.project_name,
            context.user_name,
        )
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = _Compiled(self.rules, self._guards, context)
            with self._lock:
                if len(self._compiled) >= CALLERS_MAX:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[key] = compiled
        self._last = (context, compiled)
        return compiled


def _guarded(given: Mapping[str, Any]) -> Iterator[str]:
    """What rules may be about: each attribute, and each key that is given a value within it."""
    for name, value in given.items():
        yield name
        for inner in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(inner, dict):
                yield from (f"{name}:{key}" for key, within in inner.items() if within is not None)
