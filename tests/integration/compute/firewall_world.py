"""Hosts on a bridge in namespaces of their own, and what gets from one to another.

Whether something does *not* arrive is told by an ARP frame that is sent after it on the same way: no firewall stops it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import select
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from cove.linux import namespaces

WAIT_S = 10.0
GRACE_S = 0.02
_ids = itertools.count(1)


@dataclass
class Host:
    """A machine with one interface: its namespace, the device of the other end, and its addresses."""

    namespace: str
    tap: str
    mac: str
    ipv4: str
    ipv6: str
    packets: socket.socket

    def address(self, version: int) -> str:
        return self.ipv4 if version == 4 else self.ipv6

    def socket(self, version: int, kind: int, protocol: int = 0) -> socket.socket:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        made = namespaces.open_socket(self.namespace, family, kind, protocol)
        made.settimeout(WAIT_S)
        return made


@dataclass
class World:
    """Bridges `br0`, `br1` … in one namespace, with hosts on them."""

    namespace: str
    hosts: list[Host] = field(default_factory=list)

    # --- what gets through -------------------------------------------------------------------------------------------

    def udp(self, source: Host, target: Host, version: int, port: int, source_port: int = 0) -> bool:
        """Whether a datagram arrives."""
        with target.socket(version, socket.SOCK_DGRAM) as there, source.socket(version, socket.SOCK_DGRAM) as here:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            there.bind((target.address(version), port))
            here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            here.bind((source.address(version), source_port))
            here.sendto(b"data", (target.address(version), port))
            return self._arrives(there, source, target)

    def talk(self, source: Host, target: Host, version: int, port: int) -> tuple[bool, bool]:
        """Whether a datagram arrives, and the answer to it."""
        with target.socket(version, socket.SOCK_DGRAM) as there, source.socket(version, socket.SOCK_DGRAM) as here:
            there.bind((target.address(version), port))
            here.bind((source.address(version), 0))
            here.sendto(b"data", (target.address(version), port))
            if not self._arrives(there, source, target):
                return False, False
            there.sendto(b"answer", here.getsockname())
            return True, self._arrives(here, target, source)

    def tcp(self, source: Host, target: Host, version: int, port: int) -> bool:
        """Whether a connection is made."""
        connection = self.connect(source, target, version, port)
        if connection is None:
            return False
        for end in connection:
            end.close()
        return True

    def connect(
        self, source: Host, target: Host, version: int, port: int
    ) -> tuple[socket.socket, socket.socket] | None:
        """A connection's two ends, or None if the first packet is lost."""
        with contextlib.ExitStack() as stack:
            there = stack.enter_context(target.socket(version, socket.SOCK_STREAM))
            there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            there.bind((target.address(version), port))
            there.listen()
            here = stack.enter_context(source.socket(version, socket.SOCK_STREAM))
            here.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                here.connect((target.address(version), port))
            if not self._arrives(there, source, target):
                return None
            accepted, _ = there.accept()
            accepted.settimeout(WAIT_S)
            here.settimeout(WAIT_S)
            stack.pop_all()
            there.close()
            return here, accepted

    def ping(self, source: Host, target: Host, version: int) -> bool:
        """Whether an echo request is answered."""
        protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        identity = next(_ids) & 0xFFFF
        with source.socket(version, socket.SOCK_RAW, protocol) as here:
            request = struct.pack("!BBHHH", 8 if version == 4 else 128, 0, 0, identity, 1)
            if version == 4:
                request = (
                    request[:2] + struct.pack("!H", 0xFFFF - sum(struct.unpack("!4H", request)) % 0xFFFF) + request[4:]
                )
            here.sendto(request, (target.address(version), 0))

            def answered() -> bool:
                while self._readable(here):
                    data = here.recv(2048)
                    kind, _, _, got, _ = struct.unpack_from("!BBHHH", data, 20 if version == 4 else 0)
                    if kind == (0 if version == 4 else 129) and got == identity:
                        return True
                return False

            self._marker(source, target)
            self._marker(target, source)
            if answered():
                return True
            time.sleep(GRACE_S)
            return answered()

    def frame(self, source: Host, target: Host, frame: bytes) -> bool:
        """Whether an Ethernet frame arrives."""
        self._drain(target)
        source.packets.send(frame)
        return frame in self._marker(source, target)

    def _arrives(self, there: socket.socket, source: Host, target: Host) -> bool:
        """Whether anything arrived; a connection's first three packets go there, back and there again."""
        for one, other in ((source, target), (target, source), (source, target)):
            if self._readable(there):
                return True
            self._marker(one, other)
        if not self._readable(there):
            time.sleep(GRACE_S)
        return self._readable(there)

    @staticmethod
    def _readable(sock: socket.socket) -> bool:
        timeout = sock.gettimeout()
        sock.setblocking(False)
        try:
            if sock.type == socket.SOCK_STREAM:
                return bool(select.select([sock], [], [], 0)[0])
            return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_TRUNC))
        except BlockingIOError:
            return False
        finally:
            sock.settimeout(timeout)

    def _marker(self, source: Host, target: Host) -> list[bytes]:
        """Wait until an ARP frame has gone the same way; returns the frames that came before it."""
        number = struct.pack("!I", next(_ids))
        marker = mac(target.mac) + mac(source.mac) + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)
        marker += mac(source.mac) + ip(source.ipv4) + mac(target.mac) + number
        source.packets.send(marker)
        seen = []
        while not (got := target.packets.recv(4096)).startswith(marker):
            seen.append(got)
        return seen

    @staticmethod
    def _drain(host: Host) -> None:
        host.packets.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                host.packets.recv(4096)
        host.packets.settimeout(WAIT_S)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def udp_frame(source: Host, target: Host, version: int, sport: int, dport: int) -> bytes:
    """An Ethernet frame with a datagram (its checksum left out, for IPv4; wrong, for IPv6: nobody reads it)."""
    datagram = struct.pack("!HHHH", sport, dport, 8 + 24, 0) + b"data" * 6
    return _ethernet(source, target, version, 17, datagram)


def icmp6_frame(source: Host, target: Host, kind: int) -> bytes:
    """An Ethernet frame with an ICMPv6 message of that type."""
    return _ethernet(source, target, 6, 58, struct.pack("!BBHI", kind, 0, 0, 0) + bytes(16))


def _ethernet(source: Host, target: Host, version: int, protocol: int, payload: bytes) -> bytes:
    head = mac(target.mac) + mac(source.mac)
    if version == 6:
        header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + ip(source.ipv6) + ip(target.ipv6)
        return head + b"\x86\xdd" + header + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    header += ip(source.ipv4) + ip(target.ipv4)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head + b"\x08\x00" + header[:10] + struct.pack("!H", checksum) + header[12:] + payload


@contextlib.contextmanager
def world(*bridges: int) -> Iterator[World]:
    """A world with as many hosts on each bridge as given. Host n of each bridge has address .n+1, so they repeat."""
    name = f"cvt-{uuid.uuid4().hex[:8]}"
    made = World(name)
    created = []
    try:
        namespaces.create(name)
        created.append(name)
        number = itertools.count()
        for index, count in enumerate(bridges):
            bridge = f"br{index}"
            _ip(
                name,
                f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set {bridge} up",
            )
            for place in range(1, count + 1):
                tap = f"tap{next(number)}"
                namespace = f"{name}-{tap}"
                namespaces.create(namespace)
                created.append(namespace)
                address = f"fa:16:3e:00:{index:02x}:{place:02x}"
                _ip(
                    name,
                    f"link add {tap} type veth peer name eth0 address {address} netns {namespace}",
                    f"link set {tap} master {bridge} up",
                )
                _ip(
                    namespace,
                    "link set eth0 up",
                    f"addr add 10.9.0.{place}/24 dev eth0",
                    f"addr add fd09::{place}/64 dev eth0 nodad",
                )
                packets = namespaces.open_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                packets.bind(("eth0", 3))
                packets.settimeout(WAIT_S)
                made.hosts.append(Host(namespace, tap, address, f"10.9.0.{place}", f"fd09::{place}", packets))
        yield made
    finally:
        for host in made.hosts:
            host.packets.close()
        for namespace in created:
            namespaces.remove(namespace)


def _ip(namespace: str, *commands: str) -> None:
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(commands), text=True, check=True)
