"""What the guest says about itself on its console, read back: sans-I/O, text in, facts out.

The guest prints `key=value` lines between two markers (facts.sh). It also writes a pattern to a blank disk
(disktest.sh); `disk_pattern` gives the same bytes, so that others can look for them in the image.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

BEGIN = "=== cove facts begin ==="
END = "=== cove facts end ==="
DISK_PATTERN_OFFSET = 1 << 20
DISK_PATTERN_BYTES = 1 << 16
DISK_PATTERN_NAME = "cove-disk-pattern-1"
_INSTANCE_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-")
_WORD = re.compile(r"(\S+?)=(\S*)")


@dataclass(frozen=True, slots=True)
class Nic:
    """A network device of the guest; `ip_address` is empty if it got none."""

    name: str
    mac_address: str
    ip_address: str
    prefix_length: int
    mtu: int


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of the guest. `verified`: the guest read back what it wrote; `state` says how it came to that.

    States: written (now), kept (on an earlier boot), foreign (carries something else, left alone), off (not asked
    for), small, failed.
    """

    name: str
    size_bytes: int
    serial: str
    verified: bool
    state: str


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """One report of the guest."""

    hostname: str
    kernel: str
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    routes: tuple[str, ...]
    nameservers: tuple[str, ...]


def disk_pattern(instance_id: str) -> bytes:
    """The bytes that the guest of this instance writes at DISK_PATTERN_OFFSET of a blank /dev/vda."""
    if not instance_id or not set(instance_id) <= _INSTANCE_CHARACTERS:
        raise ValueError(f"instance id {instance_id!r}: letters, digits and dashes wanted")
    line = f"{DISK_PATTERN_NAME} {instance_id}\n".encode()
    return (line * (DISK_PATTERN_BYTES // len(line) + 1))[:DISK_PATTERN_BYTES]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def parse_facts(console: str) -> GuestFacts | None:
    """The last complete report in the console's text; None if there is none yet.

    What a guest says is its own business: odd values become empty or 0, never an exception.
    """
    end = console.rfind(END)
    begin = console.rfind(BEGIN, 0, max(end, 0))
    if begin < 0:
        return None
    hostname = kernel = ""
    nics: list[Nic] = []
    disks: list[Disk] = []
    routes: list[str] = []
    nameservers: list[str] = []
    for raw in console[begin + len(BEGIN) : end].splitlines():
        line = raw.strip()
        key, _, rest = line.partition("=")
        words = dict(_WORD.findall(line))
        if key == "hostname":
            hostname = rest
        elif key == "kernel":
            kernel = rest
        elif key == "route":
            routes.append(rest)
        elif key == "nameserver":
            nameservers.append(rest)
        elif key == "nic":
            address, _, prefix = words.get("ip", "").partition("/")
            mac = words.get("mac", "").lower()
            nics.append(Nic(words["nic"], mac, address, _number(prefix), _number(words.get("mtu", ""))))
        elif key == "disk":
            disks.append(
                Disk(
                    name=words["disk"],
                    size_bytes=_number(words.get("bytes", "")),
                    serial=words.get("serial", ""),
                    verified=words.get("verified") == "yes",
                    state=words.get("state", ""),
                )
            )
    return GuestFacts(hostname, kernel, tuple(nics), tuple(disks), tuple(routes), tuple(nameservers))
