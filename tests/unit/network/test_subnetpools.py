from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.network import errors, prefixes, rbac_policies, subnetpools, subnets
from cove.network.tables.subnetpool import SUBNETPOOL
from tests.unit.network.address_lab import ADMIN, ALICE, BOB, Lab

RESOURCE = subnetpools.RESOURCE
SLAAC: dict[str, Any] = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.engine.dispose()


def cut(lab: Lab, pool: dict[str, Any], context: Any = ALICE, network: str | None = None, **body: Any) -> str:
    """The CIDR of a new subnet from a pool, on a network of its own."""
    body.setdefault("ip_version", pool["ip_version"])
    subnet = lab.subnet(network or lab.network(), context=context, subnetpool_id=pool["id"], **body)
    assert subnet["subnetpool_id"] == pool["id"]
    return str(subnet["cidr"])


# --- create ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "lengths"),
    [
        ({"prefixes": ["10.0.0.0/8"]}, ("8", "8", "32")),
        ({"prefixes": ["2001:db8::/32"]}, ("64", "64", "128")),
        ({"prefixes": ["10.0.0.0/8"], "min_prefixlen": "29"}, ("29", "29", "32")),
        ({"prefixes": ["10.0.0.0/8"], "default_prefixlen": 26}, ("26", "8", "32")),
        (
            {"prefixes": ["2001:db8::/32"], "min_prefixlen": 48, "max_prefixlen": 64, "default_prefixlen": 56},
            ("56", "48", "64"),
        ),
    ],
)
def test_prefix_lengths_are_text_and_have_defaults(
    lab: Lab, body: dict[str, Any], lengths: tuple[str, str, str]
) -> None:
    pool = lab.pool(**body)
    assert (pool["default_prefixlen"], pool["min_prefixlen"], pool["max_prefixlen"]) == lengths
    assert pool == lab.show(RESOURCE, pool["id"])
    assert set(pool) == set(SUBNETPOOL.by_name)


def test_prefixes_are_joined(lab: Lab) -> None:
    pool = lab.pool(["10.0.1.0/24", "10.0.0.5/24", "10.0.0.128/25", "192.0.2.0/24"])
    assert pool["prefixes"] == ["10.0.0.0/23", "192.0.2.0/24"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"prefixes": []}, errors.EmptySubnetPoolPrefixList),
        ({"prefixes": ["10.0.0.0/8", "2001:db8::/32"]}, errors.PrefixVersionMismatch),
        ({"prefixes": ["10.0.0.0/8"], "min_prefixlen": 28, "max_prefixlen": 24}, errors.IllegalSubnetPoolPrefixBounds),
        ({"prefixes": ["10.0.0.0/8"], "max_prefixlen": 33}, errors.IllegalSubnetPoolPrefixBounds),
        (
            {"prefixes": ["10.0.0.0/8"], "min_prefixlen": 24, "default_prefixlen": 20},
            errors.IllegalSubnetPoolPrefixBounds,
        ),
        (
            {"prefixes": ["10.0.0.0/8"], "max_prefixlen": 24, "default_prefixlen": 26},
            errors.IllegalSubnetPoolPrefixBounds,
        ),
        ({"prefixes": ["10.0.0.0/8"], "name": ""}, errors.HTTPBadRequest),
        ({"prefixes": ["10.0.0.0/8", "10.0.0.0/8"]}, errors.HTTPBadRequest),
        ({"prefixes": ["10.0.0.0"]}, errors.HTTPBadRequest),
        ({"prefixes": "10.0.0.0/8"}, errors.HTTPBadRequest),
        ({"prefixes": ["10.0.0.0/8"], "min_prefixlen": -1}, errors.HTTPBadRequest),
        ({"prefixes": ["10.0.0.0/8"], "ip_version": 4}, errors.HTTPBadRequest),
    ],
)
def test_refused(lab: Lab, body: dict[str, Any], error: type[errors.NetworkingError]) -> None:
    with pytest.raises(error):
        lab.pool(**body)


def test_one_default_for_each_version(lab: Lab) -> None:
    lab.pool(["10.0.0.0/8"], ADMIN, is_default=True)
    lab.pool(["2001:db8::/32"], ADMIN, is_default=True)
    with pytest.raises(errors.InvalidInput, match="default subnet pool"):
        lab.pool(["192.0.2.0/24"], ADMIN, is_default=True)
    other = lab.pool(["192.0.2.0/24"], ADMIN)
    with pytest.raises(errors.InvalidInput, match="default subnet pool"):
        lab.update(RESOURCE, other["id"], ADMIN, is_default=True)


# --- cutting ---------------------------------------------------------------------------------------------------------


def test_the_default_length_and_others(lab: Lab) -> None:
    pool = lab.pool(["10.0.0.0/16"], min_prefixlen=16, default_prefixlen=26)
    assert cut(lab, pool) == "10.0.0.0/26"
    assert cut(lab, pool) == "10.0.0.64/26"
    assert cut(lab, pool, prefixlen="24") == "10.0.1.0/24"
    assert cut(lab, pool, cidr="10.0.9.0/24") == "10.0.9.0/24"
    assert cut(lab, pool, prefixlen=25) == "10.0.0.128/25"


@pytest.mark.parametrize(
    ("prefix", "body", "gateway", "start"),
    [
        ("10.0.0.0/16", {}, "10.0.0.1", "10.0.0.2"),
        ("10.0.0.0/16", {"gateway_ip": None}, None, "10.0.0.1"),
        ("10.0.0.0/16", {"gateway_ip": "10.0.5.9", "prefixlen": 24}, "10.0.5.9", "10.0.5.1"),
        ("2001:db8::/48", {}, "2001:db8::1", "2001:db8::2"),
        ("2001:db8::/48", {"cidr": "2001:db8:0:5::/64"}, "2001:db8:0:5::", "2001:db8:0:5::1"),
        ("2001:db8::/48", SLAAC, "2001:db8::1", "2001:db8::2"),
    ],
)
def test_gateways_of_subnets_from_a_pool(
    lab: Lab, prefix: str, body: dict[str, Any], gateway: str | None, start: str
) -> None:
    pool = lab.pool([prefix], min_prefixlen=16, default_prefixlen=64 if ":" in prefix else 24)
    subnet = lab.subnet(lab.network(), ip_version=pool["ip_version"], subnetpool_id=pool["id"], **body)
    assert subnet["gateway_ip"] == gateway
    assert subnet["allocation_pools"][0]["start"] == start


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"prefixlen": 23}, errors.MinPrefixSubnetAllocationError),
        ({"prefixlen": 29}, errors.MaxPrefixSubnetAllocationError),
        ({"cidr": "10.0.0.0/30"}, errors.MaxPrefixSubnetAllocationError),
        ({"cidr": "10.0.4.0/24"}, errors.SubnetAllocationError),
        ({"cidr": "10.0.0.0/24"}, errors.SubnetAllocationError),
        ({"prefixlen": 24}, errors.SubnetAllocationError),
        ({"gateway_ip": "10.9.0.1"}, errors.SubnetAllocationError),
        ({"gateway_ip": "fe80::1"}, errors.InvalidInput),
        ({"allocation_pools": [{"start": "10.0.0.5", "end": "10.0.0.9"}]}, errors.BadRequest),
        ({"ip_version": 6}, errors.BadRequest),
        ({"use_default_subnetpool": True}, errors.BadRequest),
    ],
)
def test_refused_cuts(lab: Lab, body: dict[str, Any], error: type[errors.NetworkingError]) -> None:
    pool = lab.pool(["10.0.0.0/24"], min_prefixlen=24, max_prefixlen=28, default_prefixlen=28)
    cut(lab, pool, cidr="10.0.0.16/28")
    with pytest.raises(error) as caught:
        cut(lab, pool, **body)
    assert caught.value.code in (400, 409)


def test_what_is_given_back_is_cut_again(lab: Lab) -> None:
    pool = lab.pool(["10.0.0.0/29"], default_prefixlen=30, min_prefixlen=30)
    network = lab.network()
    first = lab.subnet(network, ip_version=4, subnetpool_id=pool["id"])
    assert cut(lab, pool) == "10.0.0.4/30"
    with pytest.raises(errors.SubnetAllocationError):
        cut(lab, pool)
    lab.delete(subnets.RESOURCE, first["id"])
    assert cut(lab, pool) == "10.0.0.0/30"


def test_the_default_pool(lab: Lab) -> None:
    four = lab.pool(["10.0.0.0/16"], ADMIN, is_default=True, default_prefixlen=24, shared=True)
    six = lab.pool(["2001:db8::/48"], ADMIN, is_default=True, shared=True)
    for version, pool in ((4, four), (6, six)):
        subnet = lab.subnet(lab.network(), ip_version=version, use_default_subnetpool=True)
        assert subnet["subnetpool_id"] == pool["id"]


@pytest.mark.parametrize(
    ("prefix", "default", "quota", "fits"),
    [("10.0.0.0/16", 30, 9, 2), ("10.0.0.0/16", 30, 0, 9), ("2001:db8::/48", 64, 3, 3), ("2001:db8::/48", 65, 1, 2)],
)
def test_a_projects_share(lab: Lab, prefix: str, default: int, quota: int, fits: int) -> None:
    """IPv4 counts addresses, IPv6 networks of 64 bits; 0 is no limit."""
    pool = lab.pool(
        [prefix],
        ADMIN,
        default_quota=quota,
        default_prefixlen=default,
        min_prefixlen=8 if "." in prefix else 48,
        shared=True,
    )
    for _ in range(fits):
        cut(lab, pool)
    if quota:
        with pytest.raises(errors.SubnetPoolQuotaExceeded) as caught:
            cut(lab, pool)
        assert caught.value.code == 409
    cut(lab, pool, BOB, network=lab.network(project_id="bob"))  # his share is his own


@given(st.lists(st.tuples(st.integers(24, 28), st.booleans()), max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_cuts_never_overlap_and_never_fail_for_nothing(wishes: list[tuple[int, bool]], chance: random.Random) -> None:
    lab = Lab()
    network, pool = lab.network(), lab.pool(["10.0.0.0/24", "10.0.4.0/24"], min_prefixlen=24, default_prefixlen=28)
    there: dict[str, ipaddress.IPv4Network] = {}
    for length, give_back in wishes:
        if give_back and there:
            gone = chance.choice(sorted(there))
            lab.delete(subnets.RESOURCE, gone)
            del there[gone]
            continue
        every = [
            place
            for prefix in ("10.0.0.0/24", "10.0.4.0/24")
            for place in ipaddress.IPv4Network(prefix).subnets(new_prefix=length)
        ]
        possible = [place for place in every if not any(place.overlaps(other) for other in there.values())]
        try:
            subnet = lab.subnet(network, ip_version=4, subnetpool_id=pool["id"], prefixlen=length)
        except errors.SubnetAllocationError:
            assert not possible
        else:
            assert ipaddress.IPv4Network(subnet["cidr"]) in possible
            there[subnet["id"]] = ipaddress.IPv4Network(subnet["cidr"])
    lab.engine.dispose()


# --- one network, one pool -------------------------------------------------------------------------------------------


def test_the_subnets_of_a_network_come_from_one_pool_or_none(lab: Lab) -> None:
    one, other = (lab.pool([prefix], default_prefixlen=24) for prefix in ("10.0.0.0/16", "10.1.0.0/16"))
    pooled, plain = lab.network(), lab.network()
    cut(lab, one, network=pooled)
    cut(lab, one, network=pooled)
    lab.subnet(plain, "192.0.2.0/24")
    with pytest.raises(errors.NetworkSubnetPoolAffinityError):
        cut(lab, other, network=pooled)
    with pytest.raises(errors.NetworkSubnetPoolAffinityError):
        cut(lab, one, network=plain)
    with pytest.raises(errors.NetworkSubnetPoolAffinityError):
        lab.subnet(pooled, "192.0.2.0/24")
    lab.subnet(pooled, "2001:db8::/64")  # the other version is its own matter


# --- update, delete --------------------------------------------------------------------------------------------------


def test_update(lab: Lab) -> None:
    pool = lab.pool(["10.0.0.0/24"], min_prefixlen=24)
    changes: dict[str, Any] = {
        "name": "b",
        "description": "c",
        "min_prefixlen": 20,
        "max_prefixlen": 30,
        "default_prefixlen": 26,
    }
    after = lab.update(RESOURCE, pool["id"], **changes, default_quota=7, prefixes=["10.0.0.0/16"])
    assert (after["min_prefixlen"], after["max_prefixlen"], after["default_prefixlen"]) == ("20", "30", "26")
    assert (after["name"], after["description"], after["default_quota"]) == ("b", "c", 7)
    assert after["prefixes"] == ["10.0.0.0/16"]
    assert after["revision_number"] == 2
    assert after == lab.show(RESOURCE, pool["id"])
    assert lab.update(RESOURCE, pool["id"], name="b")["revision_number"] == 2


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"prefixes": ["10.0.0.0/25"]}, errors.IllegalSubnetPoolPrefixUpdate),
        ({"prefixes": ["192.0.2.0/24"]}, errors.IllegalSubnetPoolPrefixUpdate),
        ({"prefixes": ["2001:db8::/32"]}, errors.PrefixVersionMismatch),
        ({"prefixes": []}, errors.IllegalSubnetPoolPrefixUpdate),
        ({"min_prefixlen": 30}, errors.IllegalSubnetPoolPrefixBounds),
        ({"max_prefixlen": 129}, errors.IllegalSubnetPoolPrefixBounds),
        ({"max_prefixlen": -1}, errors.HTTPBadRequest),
        ({"name": " p"}, errors.HTTPBadRequest),
        ({"shared": True}, errors.HTTPBadRequest),
        ({"project_id": "bob"}, errors.HTTPBadRequest),
    ],
)
def test_refused_updates(lab: Lab, changes: dict[str, Any], error: type[errors.NetworkingError]) -> None:
    pool = lab.pool(["10.0.0.0/24"], min_prefixlen=24)
    with pytest.raises(error):
        lab.update(RESOURCE, pool["id"], **changes)
    assert lab.show(RESOURCE, pool["id"]) == pool


def test_a_pool_with_subnets_stays(lab: Lab) -> None:
    pool = lab.pool(["10.0.0.0/24"], default_prefixlen=26)
    network = lab.network()
    subnet = lab.subnet(network, ip_version=4, subnetpool_id=pool["id"])
    with pytest.raises(errors.SubnetPoolDeleteError):
        lab.delete(RESOURCE, pool["id"])
    lab.delete(subnets.RESOURCE, subnet["id"])
    assert lab.delete(RESOURCE, pool["id"])["id"] == pool["id"]
    assert lab.visible(RESOURCE, ALICE) == set()


# --- who sees --------------------------------------------------------------------------------------------------------


def test_who_sees_and_uses_a_pool(lab: Lab) -> None:
    hidden, shared, given_away = (
        lab.pool([f"10.{n}.0.0/16"], ADMIN, shared=n == 1, default_prefixlen=24) for n in range(3)
    )
    with lab.tx(ADMIN) as tx:
        rbac_policies.set_shared(tx, "subnetpool", given_away["id"], "admin", True)
    assert lab.visible(RESOURCE, ALICE) == {shared["id"], given_away["id"]}
    assert lab.show(RESOURCE, shared["id"])["shared"] is True
    cut(lab, shared)
    with pytest.raises(errors.SubnetPoolNotFound):
        cut(lab, hidden)
    cut(lab, hidden, ADMIN)


def test_ten_thousand_subnets_of_one_pool_cost_what_one_sort_costs() -> None:
    """Nothing looks at pairs: with the taken prefixes given, the arithmetic runs over both lists once."""
    taken = [ipaddress.ip_network((int(ipaddress.ip_address("10.0.0.0")) + (n << 8), 24)) for n in range(10_000)]
    ranges = prefixes.ranges_of(taken[::2])
    assert len(ranges) == 5_000
    free = prefixes.difference(prefixes.ranges_of([ipaddress.ip_network("10.0.0.0/8")]), ranges)
    assert prefixes.first_fit(free, 4, 24) == taken[1]
