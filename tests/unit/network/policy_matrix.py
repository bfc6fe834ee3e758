"""Who may do what to whose object, according to Neutron: the cases, and how GOLDEN was made.

With a Python that has Neutron 29: `python -m tests.unit.network.policy_matrix >tests/golden/network/policy.json`.
Each rule's decisions are rows, one for each of ROLES, of bits, one for each of targets(), in hexadecimal; equal rows
are stored once.
"""

from __future__ import annotations

import importlib
import itertools
import json
import logging
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden" / "network" / "policy.json"
RULES = ROOT / "src" / "cove" / "network" / "policy" / "policy.toml"
MINE, OTHERS = "a" * 32, "b" * 32
ROLES: tuple[tuple[str, ...], ...] = (
    (),
    ("reader",),
    ("member",),
    ("reader", "member"),
    ("reader", "member", "manager"),
    ("manager",),
    ("admin",),
    ("reader", "member", "manager", "admin"),
    ("service",),
    ("member", "service"),
    ("advsvc",),
)
Decide = Callable[[str, tuple[str, ...], Mapping[str, Any]], bool]


def targets() -> list[dict[str, Any]]:
    """Objects that differ in all that a rule may ask of one."""
    owners = (
        (MINE, MINE, MINE),
        (MINE, OTHERS, OTHERS),
        (OTHERS, MINE, OTHERS),
        (OTHERS, OTHERS, MINE),
        (OTHERS, OTHERS, OTHERS),
    )
    sharing = ((False, False), (True, False), (False, True))
    devices = (("", MINE), ("", "*"), ("compute:nova", MINE), ("network:dhcp", "*"), ("baremetal:none", MINE))
    return [
        {
            "project_id": owner,
            "tenant_id": owner,
            "network:project_id": network,
            "network:tenant_id": network,
            "security_group:project_id": group,
            "shared": shared,
            "router:external": external,
            "device_owner": device_owner,
            "target_tenant": target,
            "target_project": target,
        }
        for (owner, network, group), (shared, external), (device_owner, target) in itertools.product(
            owners, sharing, devices
        )
    ]


def rows(rule: str, decide: Decide) -> list[str]:
    """The decisions on a rule, one text for each of ROLES."""
    cases = targets()
    return [f"{int('1' + ''.join(str(int(decide(rule, roles, case))) for case in cases), 2):x}" for roles in ROLES]


def pack(decisions: Mapping[str, list[str]]) -> dict[str, Any]:
    """Equal rows once."""
    distinct = sorted({row for of in decisions.values() for row in of})
    index = {row: number for number, row in enumerate(distinct)}
    return {"rows": distinct, "rules": {name: [index[row] for row in of] for name, of in decisions.items()}}


def unpack(packed: Mapping[str, Any]) -> dict[str, list[str]]:
    """The contrary."""
    return {name: [packed["rows"][number] for number in of] for name, of in packed["rules"].items()}


def _neutron() -> tuple[Iterable[str], Decide]:
    """The names of Neutron's rules, and what they decide, with its new defaults."""
    logging.disable(logging.CRITICAL)
    attributes, converters, config, policy = map(
        importlib.import_module,
        ("neutron_lib.api.attributes", "neutron_lib.api.converters", "oslo_config.cfg", "neutron.policy"),
    )
    # What a server would have registered: without it "True" in a rule is a text.
    boolean = {"convert_to": converters.convert_to_boolean}
    for collection, name in (
        ("networks", "shared"),
        ("networks", "router:external"),
        ("subnets", "router:external"),
        ("address_scopes", "shared"),
        ("subnetpools", "shared"),
        ("security_groups", "shared"),
    ):
        attributes.RESOURCES.setdefault(collection, {})[name] = boolean
    config.CONF(["--config-file", "/dev/null"], project="neutron")
    policy.init(suppress_deprecation_warnings=True)
    enforcer = policy._ENFORCER

    def decide(rule: str, roles: tuple[str, ...], target: Mapping[str, Any]) -> bool:
        caller: dict[str, Any] = {
            "project_id": MINE,
            "tenant_id": MINE,
            "user_id": "u",
            "roles": list(roles),
            "service_roles": [],
        }
        caller |= {"system_scope": None, "domain_id": None, "is_admin": "admin" in roles}
        return bool(enforcer.enforce(rule, dict(target), caller))

    return enforcer.rules, decide


if __name__ == "__main__":
    known, decision = _neutron()
    wanted = [name for section in tomllib.loads(RULES.read_text()).values() for name in section if name in known]
    json.dump(pack({name: rows(name, decision) for name in wanted}), sys.stdout)
    print()
