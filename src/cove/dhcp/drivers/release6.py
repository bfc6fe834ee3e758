"""DHCPv6 RELEASE in a client's name, so that a deleted port's IPv6 address is free at once. Source: RFC 8415.

`encode` is pure; `Releaser6` sends it from a socket inside the network's namespace, to all servers on the link: the
server there takes no release by unicast. What makes a lease is (DUID, IAID, address), which the lease file tells.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from ipaddress import IPv6Address

from cove.dhcp.drivers.leases import Lease6
from cove.linux import namespaces

CLIENT_PORT, SERVER_PORT = 546, 547
ALL_SERVERS = "ff02::1:2"
RECEIVE_BUFFER_BYTES = 4096
_RELEASE = 8
_CLIENT_ID, _SERVER_ID, _IA_NA, _IA_TA, _ADDRESS, _ELAPSED_TIME = 1, 2, 3, 4, 5, 8


def encode(lease: Lease6, server_duid: str, transaction_id: int) -> bytes:
    """The RELEASE message for one lease; `transaction_id` has 24 bits. Raises ValueError on a malformed DUID."""
    address = _option(_ADDRESS, IPv6Address(lease.ip_address).packed + bytes(8))
    association = struct.pack("!I", lease.iaid) + (b"" if lease.temporary else bytes(8)) + address
    return b"".join(
        (
            struct.pack("!I", _RELEASE << 24 | transaction_id & 0xFFFFFF),
            _option(_CLIENT_ID, _bytes(lease.duid)),
            _option(_SERVER_ID, _bytes(server_duid)),
            _option(_ELAPSED_TIME, bytes(2)),
            _option(_IA_TA if lease.temporary else _IA_NA, association),
        )
    )


def _option(code: int, content: bytes) -> bytes:
    return struct.pack("!HH", code, len(content)) + content


def _bytes(duid: str) -> bytes:
    return bytes.fromhex(duid.replace(":", ""))


class Releaser6:
    """A socket in the namespace that releases IPv6 leases of that network's server."""

    def __init__(self, namespace: str, interface: str) -> None:
        """Blocking (about 0.1 ms). Raises NamespaceError, OSError (no such interface)."""
        self._socket, self._index = namespaces.run_blocking(namespace, lambda: _open(interface))

    def release(self, lease: Lease6, server_duid: str) -> None:
        """Send one release; what came of it is seen in the lease file. Raises OSError, ValueError."""
        packet = encode(lease, server_duid, int.from_bytes(os.urandom(3)))
        self._socket.sendto(packet, (ALL_SERVERS, SERVER_PORT, 0, self._index))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _open(interface: str) -> tuple[socket.socket, int]:
    index = socket.if_nametoindex(interface)
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        # Nobody reads the server's replies; with the port open it is at least not told that nobody is there.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        with contextlib.suppress(OSError):
            sock.bind(("::", CLIENT_PORT))
    except BaseException:
        sock.close()
        raise
    return sock, index
