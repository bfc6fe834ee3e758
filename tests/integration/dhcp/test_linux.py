"""Bridges, veth pairs, taps and namespaces against the real kernel."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from cove.linux import links, namespaces, processes

NAMESPACE = f"covetest-{os.getpid()}"
BRIDGE = f"cvb{os.getpid() % 100000}"
TAP = f"cvt{os.getpid() % 100000}"
VETH = f"cvv{os.getpid() % 100000}"


@pytest.fixture
async def namespace():
    namespaces.create(NAMESPACE)
    yield NAMESPACE
    for name in (VETH, TAP, BRIDGE):
        await links.delete(name)
    namespaces.remove(NAMESPACE)


async def test_a_new_namespace_has_its_loopback_up(namespace):
    assert [(link.name, link.up) for link in await links.list_links(namespace=namespace)] == [("lo", True)]


def test_namespace_life():
    assert namespaces.create(NAMESPACE) is True
    try:
        assert namespaces.create(NAMESPACE) is False
        assert NAMESPACE in namespaces.names()
        own = os.stat("/proc/thread-self/ns/net").st_ino
        inside = namespaces.run_blocking(NAMESPACE, lambda: os.stat("/proc/thread-self/ns/net").st_ino)
        assert inside != own
        assert os.stat("/proc/thread-self/ns/net").st_ino == own
        assert not [thread for thread in threading.enumerate() if thread.name == "netns"]
    finally:
        assert namespaces.remove(NAMESPACE) is True
    assert NAMESPACE not in namespaces.names()
    assert namespaces.remove(NAMESPACE) is False


def test_a_half_made_namespace_is_repaired():
    path = namespaces.path_of(NAMESPACE)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    try:
        assert not namespaces.exists(NAMESPACE)
        assert namespaces.create(NAMESPACE) is True
        assert namespaces.exists(NAMESPACE)
    finally:
        namespaces.remove(NAMESPACE)


def test_errors_come_out_of_the_namespace(namespace):
    with pytest.raises(ZeroDivisionError):
        namespaces.run_blocking(namespace, lambda: 1 // 0)
    with pytest.raises(namespaces.NamespaceError, match="does not exist"):
        namespaces.run_blocking("covetest-none", lambda: None)


async def test_bridge_tap_and_members(namespace):
    first = await links.ensure_bridge(BRIDGE, mtu=1450)
    again = await links.ensure_bridge(BRIDGE, mtu=1400)
    assert first.index == again.index
    assert (again.kind, again.up, again.mtu) == ("bridge", True, 1400)
    tap = await links.ensure_tap(TAP, bridge=BRIDGE, owner_uid=65534, mtu=1400)
    assert (tap.kind, tap.up, tap.mtu, tap.master) == ("tun", True, 1400, first.index)
    assert (await links.ensure_tap(TAP, bridge=BRIDGE, owner_uid=65534)).index == tap.index
    assert await links.bridge_members(BRIDGE) == [TAP]
    assert await links.delete_bridge_if_unused(BRIDGE) is False
    assert await links.delete(TAP) is True
    assert await links.delete(TAP) is False
    assert await links.delete_bridge_if_unused(BRIDGE) is True
    assert not await links.exists(BRIDGE)


async def test_a_name_of_another_kind_is_refused(namespace):
    await links.ensure_tap(TAP)
    with pytest.raises(links.LinkError, match="no bridge"):
        await links.ensure_bridge(TAP)
    await links.ensure_bridge(BRIDGE)
    with pytest.raises(links.LinkError, match="no tap"):
        await links.ensure_tap(BRIDGE)


async def test_veth_into_a_namespace(namespace):
    mac = "fa:16:3e:01:02:03"
    options = {"peer_namespace": namespace, "bridge": BRIDGE, "mtu": 1450, "peer_mac_address": mac}
    here = await links.ensure_veth(VETH, "inside", **options)
    assert here.up
    again = await links.ensure_veth(VETH, "inside", **options)
    assert again.index == here.index
    there = await links.get("inside", namespace=namespace)
    assert there is not None
    assert (there.mac_address, there.mtu, there.up) == (mac, 1450, True)
    assert await links.ensure_addresses("inside", ["1.1.1.2/24", "1.1.2.2/24"], namespace=namespace) is True
    assert await links.ensure_addresses("inside", ["1.1.1.2/24", "1.1.2.2/24"], namespace=namespace) is False
    assert await links.ensure_addresses("inside", ["1.1.1.3/24"], namespace=namespace) is True
    assert await links.addresses("inside", namespace=namespace) == ["1.1.1.3/24"]
    await links.disable_tx_checksum_offload("inside", namespace=namespace)
    names = [link.name for link in await links.list_links(namespace=namespace)]
    assert names == ["lo", "inside"]
    assert not await links.exists("inside")
    assert await links.delete(VETH) is True
    assert not await links.exists("inside", namespace=namespace)


async def test_a_half_veth_pair_is_made_whole(namespace):
    await links.ensure_veth(VETH, "other", peer_namespace=namespace)
    await links.ensure_veth(VETH, "inside", peer_namespace=namespace)
    assert [link.name for link in await links.list_links(namespace=namespace)] == ["lo", "inside"]


async def test_a_process_starts_inside(namespace):
    process = await processes.spawn(["/bin/sleep", "60"], namespace=namespace)
    try:
        inside = namespaces.run_blocking(namespace, lambda: os.stat("/proc/thread-self/ns/net").st_ino)
        assert os.stat(f"/proc/{process.pid}/ns/net").st_ino == inside
    finally:
        await process.stop()
        process.close()


async def test_a_socket_opens_inside(namespace):
    with namespaces.open_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError):
        sock.connect(("192.0.2.1", 9))  # nothing is reachable from a fresh namespace
