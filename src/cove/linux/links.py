"""Bridges, veth pairs and taps through netlink: no process per change, every step repeatable ("ensure").

Netlink requests run on one worker thread with one long-lived socket: deleting a link keeps the kernel busy for tens
of milliseconds inside the system call, which must not stall the event loop, and pyroute2's asyncio sockets do not
work with uvloop. For a link inside a network namespace the request goes through a socket opened in there.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cove.errors import CoveError
from cove.linux import namespaces

T = TypeVar("T")

NAME_LENGTH_MAX = 15
REQUEST_TIMEOUT_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_IFA_F_NODAD = 0x02
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000

_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netlink")
_socket: list[Any] = []  # the worker thread's socket, once it is open


class LinkError(CoveError):
    """A link is missing, of another kind than wanted, or has an impossible name."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. `kind` is "bridge", "veth", "tun", or "" for a physical one; `master` is a link's index."""

    index: int
    name: str
    kind: str
    up: bool
    mtu: int
    mac_address: str
    master: int | None


# -- the interface: coroutines, all repeatable ----------------------------------------------------------------------


async def ensure_bridge(name: str, *, mtu: int | None = None) -> Link:
    """Make the bridge be there and up: no spanning tree, no forwarding delay, no IPv6 address of the host on it.

    Raises LinkError if the name belongs to something else, OSError/NetlinkError from the kernel.
    """
    return await _request(None, lambda ipr: _ensure_bridge(ipr, _valid(name), mtu))


async def ensure_veth(
    name: str,
    peer: str,
    *,
    peer_namespace: str,
    bridge: str | None = None,
    mtu: int | None = None,
    peer_mac_address: str | None = None,
) -> Link:
    """Make a veth pair be there and up: `name` here (in `bridge` if given), `peer` in its namespace.

    A half pair (`name` here whose peer is elsewhere) is removed and made anew. Returns the link on this side.
    """
    _valid(name), _valid(peer)
    here = await _request(None, lambda ipr: _find(ipr, name))
    there = await _request(peer_namespace, lambda ipr: _find(ipr, peer))
    if here is not None and there is None:
        await delete(name)
    if there is not None and here is None:
        await delete(peer, namespace=peer_namespace)
    if here is None or there is None:
        await _request(None, lambda ipr: _create_veth(ipr, name, peer, peer_namespace, peer_mac_address, mtu))
    await _request(peer_namespace, lambda ipr: _configure(ipr, peer, mtu=mtu, mac_address=peer_mac_address))
    return await _request(None, lambda ipr: _attach(ipr, name, bridge, mtu))


async def ensure_tap(
    name: str, *, bridge: str | None = None, owner_uid: int | None = None, mtu: int | None = None
) -> Link:
    """Make a persistent tap be there, up, in the bridge, and openable by `owner_uid` (besides root)."""
    _valid(name)

    def make(ipr: Any) -> Link:
        found = _find(ipr, name)
        if found is not None and found.kind != "tun":
            raise LinkError(f"link {name} exists but is no tap ({found.kind or 'a physical device'}): remove it")
        if found is None or (owner_uid is not None and _tap_owner(name) != owner_uid):
            _make_tap(name, owner_uid)
        return _attach(ipr, name, bridge, mtu)

    return await _request(None, make)


async def delete(name: str, *, namespace: str | None = None) -> bool:
    """Remove the link (of a veth pair, both ends); False if there was none, or no such namespace."""
    _valid(name)
    try:
        return await _request(namespace, lambda ipr: _delete(ipr, name))
    except namespaces.NamespaceError:
        return False


async def get(name: str, *, namespace: str | None = None) -> Link | None:
    """The link, or None."""
    return await _request(namespace, lambda ipr: _find(ipr, _valid(name)))


async def exists(name: str, *, namespace: str | None = None) -> bool:
    """Whether there is such a link."""
    return await get(name, namespace=namespace) is not None


async def list_links(*, namespace: str | None = None) -> list[Link]:
    """All links of the namespace, in the order of their index."""
    return await _request(namespace, lambda ipr: [_link(message) for message in ipr.get_links()])


async def bridge_members(name: str) -> list[str]:
    """The names of the links enslaved to the bridge; empty if there is no such bridge."""

    def members(ipr: Any) -> list[str]:
        bridge = _find(ipr, _valid(name))
        if bridge is None:
            return []
        return [link.name for link in map(_link, ipr.get_links()) if link.master == bridge.index]

    return await _request(None, members)


async def join_bridge(bridge: str, names: Collection[str]) -> list[str]:
    """Put those of the links that are there, and in no bridge, into this one; returns their names."""

    def join(ipr: Any) -> list[str]:
        index = _must_find(ipr, _valid(bridge)).index
        loose = [link for link in map(_link, ipr.get_links()) if link.name in names and link.master is None]
        for link in loose:
            ipr.link("set", index=link.index, master=index)
        return [link.name for link in loose]

    return await _request(None, join)


async def delete_bridge_if_unused(name: str) -> bool:
    """Remove the bridge unless a link is still in it; whether it is gone now because of this."""

    def delete_unused(ipr: Any) -> bool:
        bridge = _find(ipr, _valid(name))
        if bridge is None or bridge.kind != "bridge":
            return False
        if any(_link(message).master == bridge.index for message in ipr.get_links()):
            return False
        return _delete(ipr, name)

    return await _request(None, delete_unused)


async def set_state(name: str, *, up: bool, namespace: str | None = None) -> None:
    """Set a link up or down. Raises LinkError if it is missing."""

    def change(ipr: Any) -> None:
        link = _must_find(ipr, _valid(name))
        if link.up != up:
            ipr.link("set", index=link.index, state="up" if up else "down")

    await _request(namespace, change)


async def set_mtu(name: str, mtu: int, *, namespace: str | None = None) -> None:
    """Set the MTU (bytes). Raises LinkError if the link is missing."""
    await _request(namespace, lambda ipr: _configure(ipr, _valid(name), mtu=mtu, up=False))


async def addresses(name: str, *, namespace: str | None = None) -> list[str]:
    """The link's addresses as "1.1.1.2/24", without IPv6 link-local ones."""
    return await _request(namespace, lambda ipr: _addresses(ipr, _must_find(ipr, _valid(name)).index))


async def ensure_addresses(name: str, wanted: Iterable[str], *, namespace: str | None = None) -> bool:
    """Make the link have exactly the addresses (such as "1.1.1.2/24"; link-local ones are left alone).

    Whether anything had to change. Raises LinkError if the link is missing, ValueError on a malformed address.
    """
    interfaces = {str(ip_interface(address)): ip_interface(address) for address in wanted}
    return await _request(namespace, lambda ipr: _ensure_addresses(ipr, _valid(name), interfaces))


async def set_ipv6(name: str, values: Mapping[str, int], *, namespace: str | None = None) -> None:
    """Set the link's `net.ipv6.conf` switches ("default": of links yet to come). No error where there is no IPv6."""
    directory = Path("/proc/sys/net/ipv6/conf") / _valid(name)

    def write() -> None:
        for key, value in values.items():
            switch = directory / key
            try:
                if switch.read_text().strip() != str(value):
                    switch.write_text(str(value))
            except FileNotFoundError:
                pass  # no IPv6 in this kernel, or the link has just gone

    await namespaces.run(namespace, write)


async def hand_over_bridged(name: str, *, namespace: str | None = None) -> None:
    """Have the kernel show a bridge's IP frames to its IP hooks (br_netfilter), and track their connections there.

    Raises LinkError if there is no such bridge, OSError/NetlinkError if the kernel cannot.
    """

    def change(ipr: Any) -> None:
        index = _must_find(ipr, _valid(name)).index
        ipr.link("set", index=index, kind="bridge", br_nf_call_iptables=1, br_nf_call_ip6tables=1)

    await _request(namespace, change)


async def disable_tx_checksum_offload(name: str, *, namespace: str | None = None) -> None:
    """Have the kernel fill in checksums on a veth (what `ethtool -K <name> tx off` does).

    Without it packets that never meet hardware carry half-made UDP checksums, which some DHCP clients refuse.
    """
    _valid(name)

    def ioctl() -> None:
        value = bytearray(struct.pack("=II", _ETHTOOL_STXCSUM, 0))
        with namespaces.open_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            _ethtool(sock, name, value)

    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        await asyncio.to_thread(ioctl)


# -- on the worker thread -------------------------------------------------------------------------------------------


async def _request(namespace: str | None, function: Callable[[Any], T]) -> T:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        return await loop.run_in_executor(_executor, _run, namespace, function)


def _run(namespace: str | None, function: Callable[[Any], T]) -> T:
    if namespace is None:
        if not _socket:
            _socket.append(IPRoute(groups=0))
        return function(_socket[0])
    sock = namespaces.open_socket(namespace, socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE)
    ipr = IPRoute(fileno=sock.detach(), groups=0)
    try:
        return function(ipr)
    finally:
        ipr.close()


def _valid(name: str) -> str:
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise LinkError(f"link name {name!r}: use 1 to {NAME_LENGTH_MAX} letters, digits, '_', '.' and '-'")
    return name


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=(info.get_attr("IFLA_INFO_KIND") if info is not None else None) or "",
        up=bool(message["flags"] & 1),
        mtu=message.get_attr("IFLA_MTU") or 0,
        mac_address=message.get_attr("IFLA_ADDRESS") or "",
        master=message.get_attr("IFLA_MASTER"),
    )


def _find(ipr: Any, name: str) -> Link | None:
    try:
        found = ipr.link("get", ifname=name)
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise
    return _link(found[0])


def _must_find(ipr: Any, name: str) -> Link:
    link = _find(ipr, name)
    if link is None:
        raise LinkError(f"link {name} does not exist")
    return link


def _delete(ipr: Any, name: str) -> bool:
    link = _find(ipr, name)
    if link is None:
        return False
    try:
        ipr.link("del", index=link.index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:  # somebody else was faster
            raise
        return False
    return True


def _add(ipr: Any, **spec: Any) -> None:
    try:
        ipr.link("add", **spec)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def _configure(ipr: Any, name: str, *, mtu: int | None = None, mac_address: str | None = None, up: bool = True) -> Link:
    link = _must_find(ipr, name)
    if mac_address is not None and link.mac_address != mac_address.lower():
        ipr.link("set", index=link.index, address=mac_address)
    if mtu is not None and link.mtu != mtu:
        ipr.link("set", index=link.index, mtu=mtu)
    if up and not link.up:
        ipr.link("set", index=link.index, state="up")
    return _must_find(ipr, name)


def _ensure_bridge(ipr: Any, name: str, mtu: int | None) -> Link:
    link = _find(ipr, name)
    if link is None:
        _add(ipr, ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0)
        link = _must_find(ipr, name)
    if link.kind != "bridge":
        raise LinkError(f"link {name} exists but is no bridge ({link.kind or 'a physical device'}): remove it")
    _no_ipv6(name)
    return _configure(ipr, name, mtu=mtu)


def _attach(ipr: Any, name: str, bridge: str | None, mtu: int | None) -> Link:
    link = _must_find(ipr, name)
    if bridge is not None:
        master = _ensure_bridge(ipr, _valid(bridge), None)
        _no_ipv6(name)
        if link.master != master.index:
            ipr.link("set", index=link.index, master=master.index)
    return _configure(ipr, name, mtu=mtu)


def _no_ipv6(name: str) -> None:
    """Keep the host itself out of the network: no link-local address of its own on the device."""
    switch = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    try:
        if switch.read_text().strip() != "1":
            switch.write_text("1")
    except OSError:
        pass  # no IPv6 in this kernel, or the link has just gone


def _create_veth(ipr: Any, name: str, peer: str, namespace: str, mac_address: str | None, mtu: int | None) -> None:
    descriptor = os.open(namespaces.path_of(namespace), os.O_RDONLY | os.O_CLOEXEC)
    try:
        other: dict[str, Any] = {"ifname": peer, "net_ns_fd": descriptor}
        if mac_address is not None:
            other["address"] = mac_address
        if mtu is not None:
            other["mtu"] = mtu
        _add(ipr, ifname=name, kind="veth", peer=other)
    finally:
        os.close(descriptor)


def _addresses(ipr: Any, index: int) -> list[str]:
    found = []
    for message in ipr.get_addr(index=index):
        address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        interface = ip_interface(f"{address}/{message['prefixlen']}")
        if not (interface.version == 6 and interface.is_link_local):
            found.append(str(interface))
    return found


def _ensure_addresses(ipr: Any, name: str, wanted: dict[str, IPv4Interface | IPv6Interface]) -> bool:
    index = _must_find(ipr, name).index
    present = set(_addresses(ipr, index))
    for address in present - wanted.keys():
        interface = ip_interface(address)
        ipr.addr("del", index=index, address=str(interface.ip), prefixlen=interface.network.prefixlen)
    if present - wanted.keys():
        left = set(_addresses(ipr, index))  # a removed address takes the others of its subnet along
    else:
        left = present
    for address in wanted.keys() - left:
        interface = wanted[address]
        spec: dict[str, Any] = {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}
        if interface.version == 4:
            spec["broadcast"] = str(interface.network.broadcast_address)
        else:
            spec["flags"] = _IFA_F_NODAD  # it comes from the database, which gives no address twice
        try:
            ipr.addr("add", index=index, **spec)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
    return present != wanted.keys()


def _ethtool(sock: socket.socket, name: str, value: bytearray) -> None:
    buffer = (ctypes.c_char * len(value)).from_buffer(value)
    request = struct.pack("16sP8x", name.encode(), ctypes.addressof(buffer))
    fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, request)


def _tap_owner(name: str) -> int | None:
    try:
        return int(Path(f"/sys/class/net/{name}/owner").read_text())
    except (OSError, ValueError):
        return None


def _make_tap(name: str, owner_uid: int | None) -> None:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
        if owner_uid is not None:
            fcntl.ioctl(descriptor, _TUNSETOWNER, owner_uid)
    finally:
        os.close(descriptor)
