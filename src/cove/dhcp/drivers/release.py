"""DHCPRELEASE in a client's name, so that a deleted port's address is free at once. Source: RFC 2131, RFC 2132.

`encode` is pure; `Releaser` sends from a socket inside the network's namespace to the server's own address.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address

from cove.linux import namespaces

SERVER_PORT = 67
_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_MAGIC_COOKIE = bytes((99, 130, 83, 99))
_BOOTREQUEST, _ETHERNET = 1, 1
_MESSAGE_TYPE, _SERVER_IDENTIFIER, _END, _DHCPRELEASE = 53, 54, 255, 7


def encode(mac_address: str, ip_address: str, server_address: str, transaction_id: int) -> bytes:
    """The DHCPRELEASE packet of a client. No client identifier: the server then finds the lease by MAC."""
    none = bytes(4)
    header = _HEADER.pack(
        _BOOTREQUEST,
        _ETHERNET,
        6,
        0,
        transaction_id,
        0,
        0,
        IPv4Address(ip_address).packed,
        none,
        none,
        none,
        bytes.fromhex(mac_address.replace(":", "")),
        b"",
        b"",
    )
    options = bytes((_MESSAGE_TYPE, 1, _DHCPRELEASE, _SERVER_IDENTIFIER, 4)) + IPv4Address(server_address).packed
    return header + _MAGIC_COOKIE + options + bytes((_END,))


class Releaser:
    """A socket in the namespace that releases leases of that network's server."""

    def __init__(self, namespace: str) -> None:
        """Blocking (about 0.1 ms). Raises NamespaceError."""
        self._socket = namespaces.open_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def release(self, mac_address: str, ip_address: str, server_address: str) -> None:
        """Send one release; there is no answer to it but the server's log. Raises OSError."""
        packet = encode(mac_address, ip_address, server_address, int.from_bytes(os.urandom(4)))
        self._socket.sendto(packet, (server_address, SERVER_PORT))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
