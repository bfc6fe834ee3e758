"""The words of the conformance tables: a scenario is a list of calls, each made by somebody, told apart by its title.

Calls refer to earlier answers: `save="net"` keeps the answer's object, and `{net}` in a later path or body is its id,
`{net.name}` one of its attributes, `{net.subnets.0}` an item of one. `{alice}` and so on are the ids of projects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ADMIN, ALICE, RITA, BOB, MARA = "admin", "alice", "rita", "bob", "mara"
ROLES: Mapping[str, tuple[str, ...]] = {
    ADMIN: ("admin", "manager", "member", "reader"),
    ALICE: ("member", "reader"),
    RITA: ("reader",),
    MARA: ("manager", "member", "reader"),
    BOB: ("member", "reader"),
}
"""Who there is, with which roles."""
PROJECTS: Mapping[str, str] = {ADMIN: "admin", ALICE: "alice", RITA: "alice", MARA: "alice", BOB: "bob"}
"""The project of each: Rita and Mara share Alice's."""

SINGULAR = {
    "address-scopes": "address_scope",
    "agents": "agent",
    "default-security-group-rules": "default_security_group_rule",
    "networks": "network",
    "ports": "port",
    "quotas": "quota",
    "rbac-policies": "rbac_policy",
    "security-group-rules": "security_group_rule",
    "security-groups": "security_group",
    "subnetpools": "subnetpool",
    "subnets": "subnet",
}
REFERENCE = re.compile(r"\{([a-z][a-z0-9_]*)((?:\.[a-z0-9_:]+)*)\}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `path` is below /v2.0, `body` is sent as it is, `save` names what the objects are kept as."""

    who: str
    method: str
    path: str
    body: Any = None
    save: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.who} {self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Calls in order. What they create is removed afterwards."""

    group: str
    title: str
    calls: tuple[Call, ...]


def post(who: str, path: str, values: Any = None, *, save: str = "", raw: Any = None) -> Call:
    """Create: one object from a dict, several from a list (bulk)."""
    singular = SINGULAR.get(path.split("?")[0], path)
    if raw is None:
        raw = {_plural(path): values} if isinstance(values, list) else {singular: values or {}}
    return Call(who, "POST", path, raw, tuple(save.split()))


def put(who: str, path: str, values: Any = None, *, raw: Any = None, save: str = "", if_match: str = "") -> Call:
    """Change an object; `path` is `networks/{net}`."""
    body = {SINGULAR.get(path.split("/")[0], ""): values or {}} if raw is None else raw
    return Call(who, "PUT", path, body, tuple(save.split()), {"If-Match": if_match} if if_match else {})


def touch(who: str, path: str) -> Call:
    """PUT without a body, as for one tag."""
    return Call(who, "PUT", path)


def get(who: str, path: str, *, save: str = "") -> Call:
    """Show one, or list with a query."""
    return Call(who, "GET", path, None, tuple(save.split()))


def delete(who: str, path: str, *, if_match: str = "") -> Call:
    """Remove an object."""
    return Call(who, "DELETE", path, None, (), {"If-Match": if_match} if if_match else {})


def _plural(path: str) -> str:
    return path.split("?")[0].replace("-", "_")


def fill(value: Any, saved: Mapping[str, Any]) -> Any:
    """`value` with each reference replaced by what it refers to. Raises KeyError for what was not saved."""
    if isinstance(value, str):
        whole = REFERENCE.fullmatch(value)
        if whole:
            return _look_up(whole, saved)
        return REFERENCE.sub(lambda found: str(_look_up(found, saved)), value)
    if isinstance(value, Mapping):
        return {fill(key, saved): fill(item, saved) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, saved) for item in value]
    return value


def _look_up(found: re.Match[str], saved: Mapping[str, Any]) -> Any:
    value = saved[found[1]]
    for step in found[2].split(".")[1:]:
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value["id"] if isinstance(value, Mapping) and "id" in value else value
