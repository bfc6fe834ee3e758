"""The micro guest: the distribution's kernel, a static busybox, and dhcpcd for IPv6, in one small initramfs.

`builder.py` makes it, `cpio.py` writes the archive, `packages.py` finds kernel and dhcpcd, `elf.py` what that needs;
`init` and the other scripts run inside; `facts.py` reads what the guest says about itself on its console.
"""

from __future__ import annotations

from cove.compute.guest.builder import GuestFiles, build_guest, load_guest
from cove.compute.guest.facts import DISK_PATTERN_OFFSET, GuestFacts, disk_pattern, parse_facts
from cove.compute.guest.packages import GuestBuildError

__all__ = [
    "DISK_PATTERN_OFFSET",
    "GuestBuildError",
    "GuestFacts",
    "GuestFiles",
    "build_guest",
    "disk_pattern",
    "load_guest",
    "parse_facts",
]
