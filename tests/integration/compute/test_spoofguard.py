"""Frames through a real bridge: what a guest may not say does not arrive, what it may say does."""

from __future__ import annotations

import ipaddress
import socket
import struct
import subprocess
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cove.compute.spoofguard import GuestRules, SpoofGuard, link_local
from cove.linux import links, namespaces

MAC, OTHER_MAC, PEER_MAC = "fa:16:3e:00:00:01", "fa:16:3e:00:00:66", "fa:16:3e:00:00:02"
IP, OTHER_IP, PEER_IP = "1.1.1.10", "1.1.1.66", "1.1.1.2"
IP6, PEER_IP6 = "fd66:1::10", "fd66:1::20"
NO_IP = str(ipaddress.IPv4Address(0))
BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def ethernet(source: str, ethertype: int, payload: bytes, destination: str = BROADCAST) -> bytes:
    return mac(destination) + mac(source) + struct.pack("!H", ethertype) + payload


def arp(source: str, sender_mac: str, sender_ip: str) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac(sender_mac) + ip(sender_ip) + bytes(6) + ip(PEER_IP)
    return ethernet(source, 0x0806, body)


def udp(source: str, source_ip: str, sport: int, dport: int, target_ip: str = "255.255.255.255") -> bytes:
    datagram = struct.pack("!HHHH", sport, dport, 8 + 4, 0) + b"data"
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0) + ip(source_ip) + ip(target_ip)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + header[12:]
    return ethernet(source, 0x0800, header + datagram)


def icmp6(source: str, source_ip: str, kind: int, target: str, *, router_alert: bool = False) -> bytes:
    body = struct.pack("!BBHI", kind, 0, 0, 0) + ip(target)
    following = 58
    if router_alert:  # in a hop-by-hop header, as in each message of MLD
        body = bytes([58, 0, 5, 2, 0, 0, 1, 0]) + body
        following = 0
    header = struct.pack("!IHBB", 6 << 28, len(body), following, 255) + ip(source_ip) + ip("ff02::1")
    return ethernet(source, 0x86DD, header + body)


def udp6(source: str, source_ip: str, sport: int, dport: int) -> bytes:
    datagram = struct.pack("!HHHH", sport, dport, 8 + 4, 0) + b"data"
    header = struct.pack("!IHBB", 6 << 28, len(datagram), 17, 64) + ip(source_ip) + ip("ff02::1:2")
    return ethernet(source, 0x86DD, header + datagram)


RIGHT = {
    "ARP": arp(MAC, MAC, IP),
    "ARP probe": arp(MAC, MAC, NO_IP),
    "UDP": udp(MAC, IP, 1000, 2000),
    "DHCP request": udp(MAC, NO_IP, 68, 67),
    "DHCP renewal": udp(MAC, IP, 68, 67),
    "neighbour advertisement": icmp6(MAC, link_local(MAC), 136, link_local(MAC)),
    "neighbour advertisement of a fixed IP": icmp6(MAC, IP6, 136, IP6),
    "neighbour solicitation": icmp6(MAC, IP6, 135, PEER_IP6),
    "is this address anybody's": icmp6(MAC, "::", 135, IP6),
    "is this link-local address anybody's": icmp6(MAC, "::", 135, link_local(MAC)),
    "router solicitation from nowhere": icmp6(MAC, "::", 133, "::"),
    "router solicitation": icmp6(MAC, link_local(MAC), 133, "::"),
    "MLD from nowhere": icmp6(MAC, "::", 143, "::", router_alert=True),
    "MLD": icmp6(MAC, link_local(MAC), 143, "::", router_alert=True),
    "DHCPv6 request": udp6(MAC, link_local(MAC), 546, 547),
    "IPv6": udp6(MAC, IP6, 1000, 2000),
}
WRONG = {
    "another's MAC": udp(OTHER_MAC, IP, 1000, 2000),
    "another's IP": udp(MAC, OTHER_IP, 1000, 2000),
    "no IP but no DHCP either": udp(MAC, NO_IP, 1000, 2000),
    "ARP for another's IP": arp(MAC, MAC, OTHER_IP),
    "ARP with another's MAC inside": arp(MAC, OTHER_MAC, IP),
    "ARP from another's MAC": arp(OTHER_MAC, OTHER_MAC, IP),
    "a DHCP server's answer": udp(MAC, IP, 67, 68),
    "router advertisement": icmp6(MAC, link_local(MAC), 134, link_local(MAC)),
    "advertisement for another's IPv6": icmp6(MAC, link_local(MAC), 136, link_local(PEER_MAC)),
    "another's IPv6": icmp6(MAC, link_local(OTHER_MAC), 135, link_local(PEER_MAC)),
    "another's fixed IPv6": udp6(MAC, PEER_IP6, 1000, 2000),
    "advertisement for another's fixed IPv6": icmp6(MAC, IP6, 136, PEER_IP6),
    "a claim to another's IPv6, as if it were to be its own": icmp6(MAC, "::", 135, PEER_IP6),
    "IPv6 from nowhere": udp6(MAC, "::", 1000, 2000),
    "ICMPv6 from nowhere": icmp6(MAC, "::", 128, "::"),
    "router advertisement behind another header": icmp6(MAC, link_local(MAC), 134, "::", router_alert=True),
    "redirect": icmp6(MAC, link_local(MAC), 137, PEER_IP6),
    "a DHCP answer from another port": udp(MAC, IP, 6767, 68),
    "a DHCPv6 server's answer": udp6(MAC, link_local(MAC), 547, 546),
    "a DHCPv6 answer from another port": udp6(MAC, link_local(MAC), 5470, 546),
    "a VLAN tag around it": ethernet(MAC, 0x8100, struct.pack("!HH", 5, 0x0800) + udp(MAC, IP, 1, 2)[14:]),
    "an unknown protocol": ethernet(MAC, 0x88B5, b"hello" * 10),
}


@dataclass
class Wire:
    """A guest's end and another's end of a bridge that is in a namespace of its own."""

    guest: socket.socket
    peer: socket.socket
    guard: SpoofGuard
    namespace: str
    sent: int = 0

    def arrives(self, frame: bytes) -> bool:
        """Whether the frame gets to the other end: a right one sent after it shows that it is lost."""
        self.sent += 1
        marker = udp(MAC, IP, 40000, 40000 + self.sent)
        self.guest.send(frame)
        self.guest.send(marker)
        arrived = False
        while not (got := self.peer.recv(2048)).startswith(marker):
            # A packet socket shows a frame without its (outer) VLAN tag.
            arrived = arrived or got.startswith((frame, frame[:12] + frame[16:]))
        return arrived


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    name = f"cvt-{uuid.uuid4().hex[:8]}"
    other = f"{name}-end"
    sockets: list[socket.socket] = []
    try:
        for namespace in (name, other):
            namespaces.create(namespace)
        for link, peer in (("tap0", "guest0"), ("tap1", "peer0")):
            subprocess.run(
                ["ip", "-n", name, "link", "add", link, "type", "veth", "peer", "name", peer, "netns", other],
                check=True,
            )
        script = "link add br0 type bridge stp_state 0 forward_delay 0\nlink set br0 up\n"
        script += "".join(f"link set {link} master br0 up\n" for link in ("tap0", "tap1"))
        subprocess.run(["ip", "-n", name, "-batch", "-"], input=script, text=True, check=True)
        for end in ("guest0", "peer0"):
            await links.set_state(end, up=True, namespace=other)
            packets = namespaces.open_socket(other, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            packets.bind((end, 3))
            packets.settimeout(10)
            sockets.append(packets)
        guard = SpoofGuard(tmp_path, namespace=name)
        await guard.reset([])
        yield Wire(sockets[0], sockets[1], guard, name)
    finally:
        for packets in sockets:
            packets.close()
        for namespace in (name, other):
            namespaces.remove(namespace)


async def test_only_what_is_the_guests_own_gets_through(wire: Wire) -> None:
    # Without rules for its tap everything passes: the test's frames are such that they could arrive.
    for what, frame in {**RIGHT, **WRONG}.items():
        assert wire.arrives(frame), what
    await wire.guard.add(GuestRules("tap0", MAC, (IP, IP6)))
    for what, frame in RIGHT.items():
        assert wire.arrives(frame), what
    for what, frame in WRONG.items():
        assert not wire.arrives(frame), what
    await wire.guard.remove("tap0")
    for what, frame in WRONG.items():
        assert wire.arrives(frame), what


async def test_allowed_address_pairs(wire: Wire) -> None:
    pairs = (("", "1.1.1.64/28"), (OTHER_MAC, "2.2.2.2"), ("", "fd66:1::/64"), (OTHER_MAC, "fd66:9::9"))
    await wire.guard.add(GuestRules("tap0", MAC, (IP,), pairs))
    for frame in (
        udp(MAC, OTHER_IP, 1000, 2000),
        arp(MAC, MAC, OTHER_IP),
        udp(OTHER_MAC, "2.2.2.2", 1000, 2000),
        arp(OTHER_MAC, OTHER_MAC, "2.2.2.2"),
        icmp6(MAC, IP6, 136, PEER_IP6),
        icmp6(MAC, "::", 135, PEER_IP6),
        udp6(OTHER_MAC, link_local(OTHER_MAC), 1000, 2000),
        icmp6(OTHER_MAC, "fd66:9::9", 136, "fd66:9::9"),
    ):
        assert wire.arrives(frame), frame.hex()
    for frame in (
        udp(MAC, "1.1.1.80", 1000, 2000),
        udp(OTHER_MAC, IP, 1000, 2000),
        udp(MAC, "2.2.2.2", 1000, 2000),
        arp(OTHER_MAC, OTHER_MAC, IP),
        icmp6(OTHER_MAC, "fd66:9::9", 136, IP6),
        udp6(OTHER_MAC, IP6, 1000, 2000),
        udp6(MAC, "fd66:9::9", 1000, 2000),
    ):
        assert not wire.arrives(frame), frame.hex()
    await wire.guard.add(GuestRules("tap0", MAC, (IP,), (("", "0.0.0.0/0"), ("", "::/0"))))
    assert wire.arrives(udp(MAC, "9.9.9.9", 1000, 2000))
    assert wire.arrives(icmp6(MAC, "fd99::9", 136, "fd99::9"))
    assert not wire.arrives(udp(OTHER_MAC, "9.9.9.9", 1000, 2000))


async def test_rules_come_back_after_somebody_flushed_them(wire: Wire) -> None:
    await wire.guard.add(GuestRules("tap1", PEER_MAC, (PEER_IP,)))
    subprocess.run(["ip", "netns", "exec", wire.namespace, "nft", "flush", "ruleset"], check=True)
    await wire.guard.add(GuestRules("tap0", MAC, (IP,)))
    assert not wire.arrives(WRONG["another's IP"])
    listing = subprocess.run(
        ["ip", "netns", "exec", wire.namespace, "nft", "list", "table", "bridge", wire.guard.table],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert '"tap0" : jump guest_tap0' in listing
    assert '"tap1" : jump guest_tap1' in listing


async def test_a_check_finds_that_somebody_flushed_them(wire: Wire) -> None:
    await wire.guard.add(GuestRules("tap0", MAC, (IP,)))
    assert await wire.guard.check()
    subprocess.run(["ip", "netns", "exec", wire.namespace, "nft", "flush", "ruleset"], check=True)
    assert wire.arrives(WRONG["another's IP"])
    assert not await wire.guard.check()
    assert not wire.arrives(WRONG["another's IP"])
    assert await wire.guard.check()
    await wire.guard.destroy()
    assert await wire.guard.check()  # nobody is to be guarded
    assert wire.arrives(WRONG["another's IP"])


async def test_nothing_is_left(wire: Wire) -> None:
    await wire.guard.add(GuestRules("tap0", MAC, (IP,)))
    await wire.guard.remove("tap0")
    await wire.guard.remove("tap0")
    await wire.guard.destroy()
    await wire.guard.destroy()
    ruleset = subprocess.run(
        ["ip", "netns", "exec", wire.namespace, "nft", "list", "ruleset"], capture_output=True, text=True, check=True
    ).stdout
    assert ruleset == ""
