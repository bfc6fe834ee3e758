"""Calls about RBAC policies, and about quotas."""

from __future__ import annotations

from typing import Any

from .calls import ADMIN, ALICE, BOB, MARA, RITA, Scenario, delete, get, post, put
from .networks import NOWHERE

ONE, TWO, SOMEBODY, OTHER = ("1" * 32, "2" * 32, "a" * 32, "b" * 32)
"""Ids of projects that nobody asked the identity service for."""
NETWORK = post(ALICE, "networks", {"name": "n"}, save="net")


def policy(**values: Any) -> dict[str, Any]:
    """Bob may use the network."""
    return {
        "object_type": "network",
        "object_id": "{net}",
        "action": "access_as_shared",
        "target_tenant": "{bob}",
        **values,
    }


def without(name: str) -> dict[str, Any]:
    """The same without one of its attributes."""
    values = policy()
    del values[name]
    return values


VALUES: tuple[dict[str, Any], ...] = (
    {},
    without("object_type"),
    without("object_id"),
    without("action"),
    without("target_tenant"),
    policy(object_type="port"),
    policy(object_type="nothing"),
    policy(object_type=None),
    policy(object_id=NOWHERE),
    policy(object_id="x"),
    policy(object_id=None),
    policy(action="x"),
    policy(action=None),
    policy(action="access_as_external"),
    policy(target_tenant=""),
    policy(target_tenant=None),
    policy(target_tenant="*"),
    policy(target_tenant="x" * 300),
    policy(tenant_id="{bob}"),
    policy(project_id="{alice}", target_tenant=SOMEBODY),
    {**without("target_tenant"), "target_project": OTHER},
    policy(id=NOWHERE),
    policy(bogus=1),
)

RBAC = (
    Scenario(
        "rbac policy",
        "life of a policy",
        (
            NETWORK,
            get(BOB, "networks/{net}"),
            post(ALICE, "rbac-policies", policy(), save="policy"),
            post(ALICE, "rbac-policies", policy()),
            get(ALICE, "rbac-policies/{policy}"),
            get(ALICE, "rbac-policies?object_id={net}"),
            get(BOB, "rbac-policies/{policy}"),
            get(BOB, "rbac-policies?object_id={net}"),
            get(RITA, "rbac-policies/{policy}"),
            get(BOB, "networks/{net}"),
            get(BOB, "networks?id={net}"),
            get(ALICE, "networks/{net}"),
            get(ADMIN, "networks/{net}"),
            put(BOB, "networks/{net}", {"name": "x"}),
            delete(BOB, "networks/{net}"),
            put(BOB, "rbac-policies/{policy}", {"target_tenant": "{alice}"}),
            delete(BOB, "rbac-policies/{policy}"),
            post(BOB, "ports", {"network_id": "{net}"}, save="port"),
            delete(ALICE, "rbac-policies/{policy}"),
            put(ALICE, "rbac-policies/{policy}", {"target_tenant": SOMEBODY}),
            delete(BOB, "ports/{port}"),
            put(ALICE, "rbac-policies/{policy}", {"target_tenant": SOMEBODY}),
            put(ALICE, "rbac-policies/{policy}", {"target_tenant": "*"}),
            put(ALICE, "rbac-policies/{policy}", {"action": "access_as_external"}),
            put(ADMIN, "rbac-policies/{policy}", {"target_tenant": "*"}),
            put(ALICE, "rbac-policies/{policy}", {"object_id": NOWHERE}),
            delete(RITA, "rbac-policies/{policy}"),
            delete(ALICE, "rbac-policies/{policy}"),
            get(ALICE, "rbac-policies/{policy}"),
            get(BOB, "networks/{net}"),
        ),
    ),
    Scenario("rbac policy", "values", (NETWORK, *(post(ALICE, "rbac-policies", values) for values in VALUES))),
    Scenario(
        "rbac policy",
        "values, as the administrator",
        (NETWORK, *(post(ADMIN, "rbac-policies", values) for values in VALUES)),
    ),
    Scenario(
        "rbac policy",
        "on what belongs to somebody else",
        (
            NETWORK,
            post(BOB, "rbac-policies", policy(target_tenant="{bob}")),
            post(RITA, "rbac-policies", policy()),
            post(MARA, "rbac-policies", policy()),
            post(ADMIN, "rbac-policies", policy(target_tenant=SOMEBODY), save="policy"),
            get(ALICE, "rbac-policies?object_id={net}"),
            get(ALICE, "rbac-policies/{policy}"),
            delete(ALICE, "rbac-policies/{policy}"),
        ),
    ),
    Scenario(
        "rbac policy",
        "goes with its object",
        (
            NETWORK,
            post(ALICE, "rbac-policies", policy(), save="policy"),
            delete(ALICE, "networks/{net}"),
            get(ADMIN, "rbac-policies/{policy}"),
        ),
    ),
    Scenario(
        "rbac policy",
        "shared and external networks have policies",
        (
            post(ADMIN, "networks", {"name": "s", "shared": True}, save="shared"),
            get(ADMIN, "rbac-policies?object_id={shared}", save="policy"),
            put(ADMIN, "networks/{shared}", {"shared": False}),
            get(ADMIN, "rbac-policies?object_id={shared}"),
            post(ADMIN, "networks", {"name": "e", "router:external": True}, save="external"),
            get(ADMIN, "rbac-policies?object_id={external}", save="way_out"),
            delete(ADMIN, "rbac-policies/{way_out}"),
            get(ADMIN, "networks/{external}"),
            get(BOB, "networks?id={external}"),
            NETWORK,
            post(ADMIN, "rbac-policies", policy(action="access_as_external")),
            get(BOB, "networks/{net}"),
            get(ALICE, "networks/{net}"),
        ),
    ),
    Scenario(
        "rbac policy",
        "for other kinds of object",
        (
            post(ALICE, "security-groups", {"name": "g"}, save="group"),
            post(ALICE, "rbac-policies", policy(object_type="security_group", object_id="{group}"), save="sg_policy"),
            get(BOB, "security-groups/{group}"),
            post(BOB, "networks", {}, save="bobs"),
            post(BOB, "ports", {"network_id": "{bobs}", "security_groups": ["{group}"]}, save="port"),
            delete(ALICE, "rbac-policies/{sg_policy}"),
            delete(BOB, "ports/{port}"),
            delete(ALICE, "rbac-policies/{sg_policy}"),
            post(ALICE, "subnetpools", {"name": "p", "prefixes": ["10.8.0.0/16"]}, save="pool"),
            post(ALICE, "rbac-policies", policy(object_type="subnetpool", object_id="{pool}")),
            get(BOB, "subnetpools/{pool}"),
            post(ALICE, "address-scopes", {"name": "s", "ip_version": 4}, save="scope"),
            post(ALICE, "rbac-policies", policy(object_type="address_scope", object_id="{scope}")),
            get(BOB, "address-scopes/{scope}"),
            post(
                ALICE,
                "rbac-policies",
                policy(object_type="subnetpool", object_id="{pool}", action="access_as_external"),
            ),
            post(ALICE, "rbac-policies", policy(object_type="network", object_id="{pool}")),
        ),
    ),
    Scenario(
        "rbac policy",
        "filters",
        (
            NETWORK,
            post(ALICE, "rbac-policies", policy(target_tenant=ONE)),
            post(ALICE, "rbac-policies", policy(target_tenant=TWO)),
            *(
                get(ALICE, f"rbac-policies?object_id={{net}}&fields=target_tenant&{query}")
                for query in (
                    f"target_tenant={ONE}",
                    "object_type=network",
                    "object_type=subnetpool",
                    "action=access_as_shared",
                    "bogus=1",
                    "sort_key=target_tenant&sort_dir=desc",
                )
            ),
        ),
    ),
)

LIMITS = ("network", "subnet", "port", "security_group", "security_group_rule", "rbac_policy", "subnetpool")
QUOTAS = (
    Scenario(
        "quota",
        "reading",
        (
            get(ALICE, "quotas/{alice}"),
            get(RITA, "quotas/{alice}"),
            get(BOB, "quotas/{alice}"),
            get(ADMIN, "quotas/{alice}"),
            get(ALICE, "quotas"),
            get(ADMIN, "quotas"),
            get(ALICE, "quotas/tenant"),
            get(ALICE, "quotas/project"),
            get(ALICE, "quotas/{alice}/default"),
            get(BOB, "quotas/{alice}/default"),
            get(ALICE, "quotas/{alice}/details"),
            get(ALICE, "quotas/{alice}/details.json"),
            get(BOB, "quotas/{alice}/details"),
            get(ADMIN, "quotas/{alice}/details"),
            get(ADMIN, f"quotas/{NOWHERE}"),
            post(ADMIN, "quotas", {"network": 5}),
        ),
    ),
    Scenario(
        "quota",
        "setting",
        (
            put(ALICE, "quotas/{alice}", {"network": 1}),
            put(MARA, "quotas/{alice}", {"network": 1}),
            put(BOB, "quotas/{alice}", {"network": 1}),
            put(ADMIN, "quotas/{alice}", {"network": 7, "subnet": "8"}),
            get(ALICE, "quotas/{alice}"),
            get(ADMIN, "quotas"),
            put(ADMIN, "quotas/{alice}", {"port": -1}),
            put(ADMIN, "quotas/{alice}", {"port": -2}),
            put(ADMIN, "quotas/{alice}", {"port": "x"}),
            put(ADMIN, "quotas/{alice}", {"port": None}),
            put(ADMIN, "quotas/{alice}", {"port": 3000000000}),
            put(ADMIN, "quotas/{alice}", {"bogus": 1}),
            put(ADMIN, "quotas/{alice}", {"tenant_id": "x"}),
            put(ADMIN, "quotas/{alice}", {}),
            put(ADMIN, "quotas/{alice}", raw={}),
            put(ADMIN, "quotas/{alice}", raw={"quota": []}),
            *(put(ADMIN, "quotas/{alice}", {name: 60}) for name in (*LIMITS, "address_scope", "router", "floatingip")),
            get(ADMIN, "quotas/{alice}/details"),
            delete(ALICE, "quotas/{alice}"),
            delete(ADMIN, "quotas/{alice}"),
            delete(ADMIN, "quotas/{alice}"),
            get(ADMIN, "quotas/{alice}"),
        ),
    ),
    Scenario(
        "quota",
        "in force",
        (
            put(ADMIN, "quotas/{alice}", {"network": 1, "subnet": 1, "port": 1, "subnetpool": 1, "security_group": 2}),
            put(ADMIN, "quotas/{alice}", {"rbac_policy": 1, "security_group_rule": 7}),
            post(ALICE, "networks", {}, save="net"),
            post(ALICE, "networks", {}),
            post(ALICE, "networks", [{}, {}]),
            get(ALICE, "quotas/{alice}/details"),
            post(ALICE, "subnets", {"network_id": "{net}", "ip_version": 4, "cidr": "10.1.0.0/24"}, save="sub"),
            post(ALICE, "subnets", {"network_id": "{net}", "ip_version": 4, "cidr": "10.2.0.0/24"}),
            post(ALICE, "ports", {"network_id": "{net}"}, save="port"),
            post(ALICE, "ports", {"network_id": "{net}"}),
            post(ALICE, "ports", [{"network_id": "{net}"}, {"network_id": "{net}"}]),
            post(ALICE, "subnetpools", {"name": "p", "prefixes": ["10.8.0.0/16"]}),
            post(ALICE, "subnetpools", {"name": "p", "prefixes": ["10.9.0.0/16"]}),
            post(ALICE, "security-groups", {"name": "a"}, save="group"),
            post(ALICE, "security-groups", {"name": "b"}),
            *(
                post(
                    ALICE,
                    "security-group-rules",
                    {"security_group_id": "{group}", "direction": "ingress", "protocol": protocol},
                )
                for protocol in ("tcp", "udp")
            ),
            post(ALICE, "rbac-policies", policy(target_tenant=ONE)),
            post(ALICE, "rbac-policies", policy(target_tenant=TWO)),
            delete(ALICE, "ports/{port}"),
            post(ALICE, "ports", {"network_id": "{net}"}),
            put(ADMIN, "quotas/{alice}", {"port": 0}),
            put(ADMIN, "quotas/{alice}?check_limit=True", {"port": 0}),
            put(ADMIN, "quotas/{alice}", {"port": 0, "check_limit": True}),
            delete(ADMIN, "quotas/{alice}"),
        ),
    ),
)
SCENARIOS = (*RBAC, *QUOTAS)
