"""The network cache: indexes, revisions, deleted ports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.dhcp.cache import NetworkCache
from cove.dhcp.decisions import PortKnown
from cove.dhcp.models import DEVICE_OWNER_DHCP

from .builders import NETWORK, SUBNET, SUBNET_2, network, port, subnet, uid


@pytest.fixture
def cache():
    cache = NetworkCache()
    cache.put(network(port(1, "1.1.1.10", revision_number=5)))
    return cache


def test_indexes(cache):
    found = cache.get(NETWORK)
    assert cache.by_subnet(SUBNET) is found
    assert cache.by_port(port(1).id) is found
    assert found.port_by_mac(port(1).mac_address).id == port(1).id
    assert found.port_by_mac("fa:16:3e:ff:ff:ff") is None
    assert cache.by_subnet(SUBNET_2) is None
    assert cache.counts() == {"networks": 1, "subnets": 1, "ports": 1}


def test_port_changes(cache):
    before = cache.put_port(port(1, "1.1.1.11", mac_address="fa:16:3e:aa:00:01", revision_number=6))
    assert before.fixed_ips[0].ip_address == "1.1.1.10"
    found = cache.get(NETWORK)
    assert found.port_by_mac(port(1).mac_address) is None
    assert found.port_by_mac("fa:16:3e:aa:00:01").revision_number == 6


def test_a_mac_that_moved_to_another_port_stays_with_it(cache):
    mac = port(1).mac_address
    cache.put_port(port(2, "1.1.1.12", mac_address=mac))
    cache.remove_port(port(1).id)
    assert cache.get(NETWORK).port_by_mac(mac).id == port(2).id


@pytest.mark.parametrize(
    ("revision", "known"),
    [(4, PortKnown.OLDER), (5, PortKnown.CURRENT), (6, PortKnown.CURRENT), (None, PortKnown.CURRENT)],
)
def test_revisions(cache, revision, known):
    assert cache.classify_port(port(1, revision_number=revision)) is known


def test_deleted_and_unknown(cache):
    cache.remove_port(port(1).id)
    assert cache.classify_port(port(1, revision_number=9)) is PortKnown.DELETED
    assert cache.classify_port(port(2)) is PortKnown.CURRENT
    assert cache.classify_port(port(2, network_id=uid(99))) is PortKnown.NETWORK_UNKNOWN
    assert cache.remove_port(port(1).id) is None
    assert cache.port(port(1).id) is None


def test_a_port_deleted_before_it_was_known_stays_out(cache):
    cache.remove_port(port(7).id)
    cache.put(network(port(7, "1.1.1.7"), port(8, "1.1.1.8")))
    assert set(cache.get(NETWORK).ports) == {port(8).id}


def test_put_replaces_but_keeps_newer_ports(cache):
    cache.put_port(port(1, "1.1.1.99", revision_number=8))
    cache.put(network(port(1, "1.1.1.10", revision_number=7), subnets=(subnet(SUBNET_2),)))
    assert cache.port(port(1).id).fixed_ips[0].ip_address == "1.1.1.99"
    assert cache.by_subnet(SUBNET) is None
    assert cache.by_subnet(SUBNET_2) is not None
    cache.put(network())
    assert cache.counts() == {"networks": 1, "subnets": 1, "ports": 0}


def test_remove_forgets_without_calling_ports_deleted(cache):
    cache.remove(NETWORK)
    assert cache.counts() == {"networks": 0, "subnets": 0, "ports": 0}
    cache.put(network(port(1)))
    assert cache.classify_port(port(1)) is PortKnown.CURRENT


def test_deleted_ports_are_bounded():
    cache = NetworkCache(deleted_ports_max=3)
    for n in range(10):
        cache.remove_port(port(n).id)
    cache.put(network())
    assert cache.classify_port(port(0)) is PortKnown.CURRENT
    assert cache.classify_port(port(9)) is PortKnown.DELETED


def test_ports_is_a_live_view_that_cannot_be_written(cache):
    view = cache.get(NETWORK).ports
    cache.put_port(port(2))
    assert len(view) == 2
    with pytest.raises(TypeError):
        view["x"] = port(3)


def test_dhcp_subnets_and_device_ids(cache):
    cache.put(
        network(
            port(1, device_id="dhcp-x", device_owner=DEVICE_OWNER_DHCP),
            subnets=(
                subnet(SUBNET_2, "2.2.2.0/24"),
                subnet(),
                subnet(uid(3), "3.3.3.0/24", enable_dhcp=False),
                subnet(uid(4), "fd00::/64", ip_version=6),
            ),
        )
    )
    found = cache.get(NETWORK)
    assert [item.id for item in found.dhcp_subnets()] == [uid(4), SUBNET, SUBNET_2]
    assert {serving.cidr for serving in found.servings()} == {"1.1.1.0/24", "2.2.2.0/24", "fd00::/64"}
    assert found.port_by_device_id("dhcp-x").id == port(1).id
    assert found.port_by_device_id("dhcp-y") is None


@given(st.lists(st.tuples(st.sampled_from("sd"), st.integers(0, 5), st.integers(0, 5), st.integers(0, 3))))
def test_indexes_agree_after_any_history(history):
    cache = NetworkCache()
    cache.put(network())
    model: dict[str, tuple[str, int]] = {}
    deleted: set[str] = set()
    for kind, n, mac, revision in history:
        item = port(n, mac_address=f"fa:16:3e:00:00:0{mac}", revision_number=revision)
        if kind == "d":
            cache.remove_port(item.id)
            model.pop(item.id, None)
            deleted.add(item.id)
            continue
        known = cache.classify_port(item)
        if item.id in deleted:
            assert known is PortKnown.DELETED
        elif item.id in model and revision < model[item.id][1]:
            assert known is PortKnown.OLDER
        else:
            assert known is PortKnown.CURRENT
            cache.put_port(item)
            model[item.id] = (item.mac_address, revision)
    found = cache.get(NETWORK)
    assert found is not None
    assert {key: (item.mac_address, item.revision_number) for key, item in found.ports.items()} == model
    for item in found.ports.values():
        by_mac = found.port_by_mac(item.mac_address)
        assert by_mac is None or by_mac.mac_address == item.mac_address
