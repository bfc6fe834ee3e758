"""Calls about subnet pools and address scopes."""

from __future__ import annotations

from typing import Any

from .calls import ADMIN, ALICE, BOB, RITA, Call, Scenario, delete, get, post, put
from .networks import LONG, NOWHERE

GROUP = "subnet pool"
NETWORK = post(ALICE, "networks", {}, save="net")


def pool(*prefixes: str, **values: Any) -> dict[str, Any]:
    """A pool of these prefixes."""
    return {"name": "p", "prefixes": list(prefixes) or ["10.8.0.0/16"], **values}


BAD: tuple[dict[str, Any], ...] = (
    {},
    {"name": "p"},
    {"prefixes": ["10.8.0.0/16"]},
    {"name": "p", "prefixes": []},
    {"name": "p", "prefixes": "10.8.0.0/16"},
    {"name": "p", "prefixes": None},
    {"name": None, "prefixes": ["10.8.0.0/16"]},
    {"name": "", "prefixes": ["10.8.0.0/16"]},
    {"name": LONG, "prefixes": ["10.8.0.0/16"]},
    pool("x"),
    pool("10.8.0.0"),
    pool("10.8.0.0/33"),
    pool("10.8.0.0/16", "fd00::/48"),
    pool(default_prefixlen="x"),
    pool(default_prefixlen=-1),
    pool(default_prefixlen=33),
    pool(default_prefixlen=4),
    pool(min_prefixlen="x"),
    pool(min_prefixlen=33),
    pool(min_prefixlen=2),
    pool(min_prefixlen=24, max_prefixlen=20),
    pool(min_prefixlen=24, default_prefixlen=20),
    pool(max_prefixlen=20, default_prefixlen=24),
    pool(max_prefixlen=33),
    pool(default_quota="x"),
    pool(default_quota=-1),
    pool(address_scope_id="x"),
    pool(address_scope_id=NOWHERE),
    pool(shared=True),
    pool(is_default=True),
    pool(shared="x"),
    pool(ip_version=4),
    pool(tenant_id="{bob}"),
    pool(id=NOWHERE),
    pool(bogus=1),
)
GOOD: tuple[dict[str, Any], ...] = (
    pool(),
    pool("10.8.5.0/16"),
    pool("10.8.0.0/16", "10.9.0.0/16"),
    pool("10.8.0.0/24", "10.8.1.0/24"),
    pool("10.8.0.0/16", "10.8.0.0/24"),
    pool("10.8.0.0/16", "10.8.0.0/16"),
    pool("fd00::/48"),
    pool("fd00::/48", default_prefixlen=64),
    pool(default_prefixlen=26),
    pool(default_prefixlen="26"),
    pool(min_prefixlen=20, max_prefixlen=28, default_prefixlen=24),
    pool(default_quota=10),
    pool(default_quota=0),
    pool(description="d"),
    pool(shared=False),
    pool(is_default=False),
    pool(address_scope_id=None),
    pool(tags=["a"]),
    pool(tenant_id="{alice}"),
)
CHANGES: tuple[dict[str, Any], ...] = (
    {"name": "b"},
    {"name": ""},
    {"description": "d"},
    {"prefixes": ["10.8.0.0/16", "10.9.0.0/16"]},
    {"prefixes": ["10.8.0.0/15"]},
    {"prefixes": ["10.0.0.0/24"]},
    {"prefixes": []},
    {"default_prefixlen": 25},
    {"default_prefixlen": 40},
    {"min_prefixlen": 10},
    {"min_prefixlen": 30},
    {"max_prefixlen": 28},
    {"max_prefixlen": 8},
    {"default_quota": 300},
    {"default_quota": None},
    {"shared": True},
    {"is_default": True},
    {"address_scope_id": NOWHERE},
    {"tenant_id": "{alice}"},
    {"ip_version": 6},
    {"id": NOWHERE},
    {"bogus": 1},
)


def four(**values: Any) -> dict[str, Any]:
    """A subnet from the pool."""
    return {"network_id": "{net}", "ip_version": 4, "subnetpool_id": "{pool}", **values}


def each(values: tuple[dict[str, Any], ...], who: str) -> tuple[Call, ...]:
    """With each of the values a pool, which goes before the next comes."""
    calls = []
    for number, one in enumerate(values):
        calls += [post(who, "subnetpools", one, save=f"p{number}"), delete(who, f"subnetpools/{{p{number}}}")]
    return tuple(calls)


POOLS = (
    Scenario(
        GROUP,
        "life of a subnet pool",
        (
            post(ALICE, "subnetpools", pool(), save="pool"),
            get(ALICE, "subnetpools/{pool}"),
            get(ALICE, "subnetpools"),
            get(RITA, "subnetpools/{pool}"),
            get(BOB, "subnetpools/{pool}"),
            get(BOB, "subnetpools?id={pool}"),
            put(BOB, "subnetpools/{pool}", {"name": "x"}),
            put(RITA, "subnetpools/{pool}", {"name": "x"}),
            delete(BOB, "subnetpools/{pool}"),
            delete(RITA, "subnetpools/{pool}"),
            post(RITA, "subnetpools", pool()),
            delete(ALICE, "subnetpools/{pool}"),
            get(ALICE, "subnetpools/{pool}"),
            delete(ALICE, "subnetpools/{pool}"),
        ),
    ),
    Scenario(GROUP, "values that are refused", tuple(post(ALICE, "subnetpools", values) for values in BAD)),
    Scenario(GROUP, "values that are taken", each(GOOD, ALICE)),
    Scenario(
        GROUP,
        "changes by the owner",
        (post(ALICE, "subnetpools", pool(), save="pool"), *(put(ALICE, "subnetpools/{pool}", c) for c in CHANGES)),
    ),
    Scenario(
        GROUP,
        "changes by the administrator",
        (post(ALICE, "subnetpools", pool(), save="pool"), *(put(ADMIN, "subnetpools/{pool}", c) for c in CHANGES)),
    ),
    Scenario(
        GROUP,
        "prefixes are handed out",
        (
            NETWORK,
            post(
                ALICE,
                "subnetpools",
                pool("10.8.0.0/22", default_prefixlen=24, min_prefixlen=23, max_prefixlen=28),
                save="pool",
            ),
            post(ALICE, "subnets", four(), save="a"),
            post(ALICE, "subnets", four(prefixlen=26)),
            post(ALICE, "subnets", four(prefixlen=23)),
            post(ALICE, "subnets", four(prefixlen=29)),
            post(ALICE, "subnets", four(prefixlen=16)),
            post(ALICE, "subnets", four(prefixlen="x")),
            post(ALICE, "subnets", four(cidr="10.8.1.128/26")),
            post(ALICE, "subnets", four(cidr="10.8.1.128/26")),
            post(ALICE, "subnets", four(cidr="10.99.0.0/24")),
            post(ALICE, "subnets", four(cidr="10.8.0.0/30")),
            post(ALICE, "subnets", four(cidr="10.8.1.192/26", prefixlen=26)),
            post(ALICE, "subnets", {"network_id": "{net}", "ip_version": 6, "subnetpool_id": "{pool}"}),
            post(ALICE, "subnets", {"network_id": "{net}", "subnetpool_id": "{pool}"}),
            post(ALICE, "subnets", four(gateway_ip="10.8.1.1", prefixlen=28)),
            post(ALICE, "subnets", four(allocation_pools=[{"start": "10.8.1.2", "end": "10.8.1.9"}], prefixlen=28)),
            post(ALICE, "subnets", {"network_id": "{net}", "ip_version": 4, "cidr": "10.99.0.0/24"}),
            put(ALICE, "subnetpools/{pool}", {"prefixes": ["10.8.0.0/21"]}),
            delete(ALICE, "subnetpools/{pool}"),
            get(ALICE, "subnets/{a}"),
        ),
    ),
    Scenario(
        GROUP,
        "quota of a pool",
        (
            NETWORK,
            post(ALICE, "subnetpools", pool(default_quota=256, default_prefixlen=24), save="pool"),
            post(ALICE, "subnets", four(prefixlen=25)),
            post(ALICE, "subnets", four(prefixlen=25)),
            post(ALICE, "subnets", four(prefixlen=25)),
        ),
    ),
    Scenario(
        GROUP,
        "shared pool",
        (
            post(ADMIN, "subnetpools", pool(shared=True), save="pool"),
            get(BOB, "subnetpools/{pool}"),
            put(BOB, "subnetpools/{pool}", {"name": "x"}),
            delete(BOB, "subnetpools/{pool}"),
            NETWORK,
            post(ALICE, "subnets", four(prefixlen=24), save="sub"),
            get(ALICE, "subnets/{sub}"),
        ),
    ),
    Scenario(
        GROUP,
        "a pool of somebody else",
        (
            post(BOB, "subnetpools", pool(), save="pool"),
            NETWORK,
            post(ALICE, "subnets", four(prefixlen=24)),
        ),
    ),
    Scenario(
        GROUP,
        "default pools",
        (
            NETWORK,
            post(ALICE, "subnets", {"network_id": "{net}", "ip_version": 4, "use_default_subnetpool": True}),
            post(ADMIN, "subnetpools", pool(is_default=True, shared=True, default_prefixlen=24), save="pool"),
            post(ADMIN, "subnetpools", pool("10.9.0.0/16", is_default=True)),
            post(ALICE, "subnets", {"network_id": "{net}", "ip_version": 4, "use_default_subnetpool": True}),
            post(ALICE, "subnets", {"network_id": "{net}", "ip_version": 6, "use_default_subnetpool": True}),
            post(ALICE, "subnets", {"network_id": "{net}", "ip_version": 4, "use_default_subnetpool": False}),
            get(ALICE, "subnetpools?is_default=True"),
        ),
    ),
    Scenario(
        GROUP,
        "prefixes added, removed, taken in",
        (
            post(ALICE, "subnetpools", pool("10.8.0.0/16"), save="pool"),
            put(ALICE, "subnetpools/{pool}/add_prefixes", raw={"prefixes": ["10.9.0.0/16"]}),
            get(ALICE, "subnetpools/{pool}"),
            put(ALICE, "subnetpools/{pool}/remove_prefixes", raw={"prefixes": ["10.9.0.0/16"]}),
            put(ALICE, "subnetpools/{pool}/add_prefixes", raw={"prefixes": ["x"]}),
            put(ALICE, "subnetpools/{pool}/add_prefixes", raw={}),
            put(BOB, "subnetpools/{pool}/add_prefixes", raw={"prefixes": ["10.9.0.0/16"]}),
            NETWORK,
            post(ALICE, "subnets", four(prefixlen=24)),
            put(ALICE, "subnetpools/{pool}/remove_prefixes", raw={"prefixes": ["10.8.0.0/16"]}),
            post(ALICE, "networks", {}, save="other"),
            post(ALICE, "subnets", {"network_id": "{other}", "ip_version": 4, "cidr": "10.77.0.0/24"}, save="sub"),
            put(ALICE, "subnetpools/{pool}/onboard_network_subnets", raw={"network_id": "{other}"}),
            get(ALICE, "subnets/{sub}"),
            put(ALICE, "subnetpools/{pool}/onboard_network_subnets", raw={"network_id": NOWHERE}),
        ),
    ),
    Scenario(
        GROUP,
        "filters",
        (
            post(ALICE, "subnetpools", pool(name="a"), save="a"),
            post(ALICE, "subnetpools", pool("fd00::/48", name="b"), save="b"),
            *(
                get(ALICE, f"subnetpools?fields=name&{query}")
                for query in (
                    "name=a",
                    "ip_version=6",
                    "ip_version=x",
                    "default_prefixlen=8",
                    "min_prefixlen=64",
                    "max_prefixlen=32",
                    "shared=False",
                    "is_default=False",
                    "prefixes=10.8.0.0/16",
                    "default_quota=5",
                    "bogus=1",
                )
            ),
        ),
    ),
)

SCOPES = (
    Scenario(
        "address scope",
        "life of an address scope",
        (
            post(ALICE, "address-scopes", {"name": "s", "ip_version": 4}, save="scope"),
            get(ALICE, "address-scopes/{scope}"),
            get(ALICE, "address-scopes"),
            get(RITA, "address-scopes/{scope}"),
            get(BOB, "address-scopes/{scope}"),
            get(BOB, "address-scopes"),
            put(ALICE, "address-scopes/{scope}", {"name": "t"}),
            put(ALICE, "address-scopes/{scope}", {"ip_version": 6}),
            put(ALICE, "address-scopes/{scope}", {"shared": True}),
            put(ADMIN, "address-scopes/{scope}", {"shared": True}),
            get(BOB, "address-scopes/{scope}"),
            put(ADMIN, "address-scopes/{scope}", {"shared": False}),
            put(BOB, "address-scopes/{scope}", {"name": "x"}),
            delete(BOB, "address-scopes/{scope}"),
            delete(RITA, "address-scopes/{scope}"),
            post(RITA, "address-scopes", {"name": "s", "ip_version": 4}),
            delete(ALICE, "address-scopes/{scope}"),
            get(ALICE, "address-scopes/{scope}"),
        ),
    ),
    Scenario(
        "address scope",
        "values",
        tuple(
            post(ALICE, "address-scopes", values)
            for values in (
                {},
                {"name": "s"},
                {"ip_version": 4},
                {"name": "", "ip_version": 4},
                {"name": LONG, "ip_version": 4},
                {"name": None, "ip_version": 4},
                {"name": "s", "ip_version": 5},
                {"name": "s", "ip_version": "4"},
                {"name": "s", "ip_version": "x"},
                {"name": "s", "ip_version": 6},
                {"name": "s", "ip_version": 4, "shared": True},
                {"name": "s", "ip_version": 4, "shared": "x"},
                {"name": "s", "ip_version": 4, "tenant_id": "{bob}"},
                {"name": "s", "ip_version": 4, "description": "d"},
                {"name": "s", "ip_version": 4, "bogus": 1},
            )
        ),
    ),
    Scenario(
        "address scope",
        "with pools and networks",
        (
            post(ALICE, "address-scopes", {"name": "s", "ip_version": 4}, save="scope"),
            post(ALICE, "subnetpools", pool(address_scope_id="{scope}", default_prefixlen=24), save="pool"),
            post(ALICE, "subnetpools", pool(address_scope_id="{scope}")),
            post(ALICE, "subnetpools", pool("10.9.0.0/16", address_scope_id="{scope}"), save="second"),
            post(ALICE, "subnetpools", pool("fd00::/48", address_scope_id="{scope}")),
            put(ALICE, "subnetpools/{second}", {"prefixes": ["10.9.0.0/16", "10.8.0.0/24"]}),
            put(ALICE, "subnetpools/{second}", {"address_scope_id": None}),
            delete(ALICE, "address-scopes/{scope}"),
            NETWORK,
            post(ALICE, "subnets", four()),
            get(ALICE, "networks/{net}"),
            post(ALICE, "subnets", {**four(), "subnetpool_id": "{second}", "prefixlen": 24}),
            post(BOB, "subnetpools", pool("10.10.0.0/16", address_scope_id="{scope}")),
            get(ALICE, "subnetpools?address_scope_id={scope}&fields=name"),
        ),
    ),
)
SCENARIOS = (*POOLS, *SCOPES)
