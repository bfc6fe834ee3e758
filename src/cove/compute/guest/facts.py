"""What the guest says about itself on its console, read back: sans-I/O, text in, facts out.

The guest prints `key=value` lines between two markers (facts.sh). It also writes a pattern to a blank disk
(disktest.sh); `disk_pattern` gives the same bytes, so that others can look for them in the image.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

BEGIN = "=== cove facts begin ==="
END = "=== cove facts end ==="
DISK_PATTERN_OFFSET = 1 << 20
DISK_PATTERN_BYTES = 1 << 16
DISK_PATTERN_NAME = "cove-disk-pattern-1"
_INSTANCE_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-")
_WORD = re.compile(r"(\S+?)=(\S*)")


@dataclass(frozen=True, slots=True)
class Nic:
    """A network device of the guest, and its addresses with their prefix lengths ("1.1.1.10/24"), link-local ones left
    out.
    """

    name: str
    mac_address: str
    mtu: int
    addresses: tuple[str, ...] = ()

    @property
    def ip_addresses(self) -> tuple[str, ...]:
        """The addresses alone, of both versions."""
        return tuple(address.partition("/")[0] for address in self.addresses)


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
    """One report of the guest. Routes are as `ip route` shows them; options are those that DHCP gave it, by their
    clients' names for them (hostname, tftp, opt150 in hex; bootfile_url).
    """

    hostname: str
    kernel: str
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    routes: tuple[str, ...] = ()
    routes_6: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    options_6: Mapping[str, str] = field(default_factory=dict)


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
    single: dict[str, str] = {}
    several: dict[str, list[str]] = {key: [] for key in ("route", "route6", "nameserver", "search")}
    options: dict[str, dict[str, str]] = {"option4": {}, "option6": {}}
    nics: dict[str, Nic] = {}
    disks: list[Disk] = []
    for raw in console[begin + len(BEGIN) : end].splitlines():
        line = raw.strip()
        key, _, rest = line.partition("=")
        words = dict(_WORD.findall(line))
        if key in several:
            several[key].append(rest)
        elif key in options:
            name, _, value = rest.partition(" ")
            options[key][name] = value
        elif key == "nic":
            mac = words.get("mac", "").lower()
            nics[words["nic"]] = Nic(words["nic"], mac, _number(words.get("mtu", "")))
        elif key == "address":
            nic = nics.get(words.get("dev", ""))
            if nic is not None:
                nics[nic.name] = replace(nic, addresses=(*nic.addresses, words["address"]))
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
        else:
            single[key] = rest
    return GuestFacts(
        hostname=single.get("hostname", ""),
        kernel=single.get("kernel", ""),
        nics=tuple(nics.values()),
        disks=tuple(disks),
        routes=tuple(several["route"]),
        routes_6=tuple(several["route6"]),
        nameservers=tuple(several["nameserver"]),
        search=tuple(domain for line in several["search"] for domain in line.split()),
        options=options["option4"],
        options_6=options["option6"],
    )
