"""The micro guest: a kernel from the distribution and a static busybox, in one small initramfs.

`builder.py` makes it, `cpio.py` writes the archive, `packages.py` finds the kernel; `init`, `udhcpc.script`,
`disktest.sh` and `facts.sh` are what runs inside; `facts.py` reads what the guest says about itself on its console.
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
