"""Feature bits that two peers exchange when they identify themselves; they choose the encodings of what follows.

Bits have been used again: a feature is a mask, its bit together with the marks of its incarnation (none for the first;
bit 57 for the second; bits 57 and 28 for the third). Always test the whole mask, by `has`.

Source: Ceph's include/ceph_features.h.
"""

from __future__ import annotations

from typing import Final

_SECOND = 1 << 57
_THIRD = 1 << 57 | 1 << 28

SUBSCRIBE2: Final = 1 << 4
PGID64: Final = 1 << 9
PGPOOL3: Final = 1 << 11
OSDREPLYMUX: Final = 1 << 12
OSDENC: Final = 1 << 13
MONENC: Final = 1 << 15
CRUSH_TUNABLES: Final = 1 << 18
CRUSH_TUNABLES2: Final = 1 << 25
OSDHASHPSPOOL: Final = 1 << 30
OSD_CACHEPOOL: Final = 1 << 35
CRUSH_V2: Final = 1 << 36
OSDMAP_ENC: Final = 1 << 39
CRUSH_TUNABLES3: Final = 1 << 41
OSD_POOLRESEND: Final = 1 << 43
CRUSH_V4: Final = 1 << 48
NEW_OSDOP_ENCODING: Final = 1 << 56
NEW_OSDOPREPLY_ENCODING: Final = 1 << 58
CRUSH_TUNABLES5: Final = 1 << 58
MSG_ADDR2: Final = 1 << 59
CEPHX_V2: Final = 1 << 61

SERVER_LUMINOUS: Final = 1 << 21 | _SECOND
RESEND_ON_SPLIT: Final = SERVER_LUMINOUS
CRUSH_MSR: Final = 1 << 38 | _SECOND
SERVER_SQUID: Final = 1 << 49 | _SECOND
SERVER_TENTACLE: Final = 1 << 50 | _SECOND

SERVER_NAUTILUS: Final = 1 << 2 | _THIRD
SERVER_OCTOPUS: Final = 1 << 16 | _THIRD
SERVER_PACIFIC: Final = 1 << 20 | _THIRD
SERVER_MIMIC: Final = 1 << 28 | _SECOND
SERVER_REEF: Final = 1 << 31 | _THIRD
SERVER_QUINCY: Final = 1 << 33 | _THIRD

SUPPORTED: Final = 0x3F01CFBDFFFDFFFF
"""What Cove's servers advertise, and what it encodes by default: exactly Ceph 16's set, so that peers of 16 to 20
choose the encodings that are implemented here. A further bit may be added only together with its encodings."""

CLIENT_SUPPORTED: Final = SUPPORTED | CRUSH_MSR
"""What a client advertises: MSR rules, too, which only lengthen the CRUSH map. A cluster of Ceph 20 that has such a
rule lets nobody in without them, whatever pool it is about."""

REQUIRED: Final = MSG_ADDR2
"""What msgr2 demands of everybody."""

CLIENT_REQUIRED: Final = MSG_ADDR2 | OSDREPLYMUX
"""What a client demands of monitors, managers and OSDs."""


def has(features: int, mask: int) -> bool:
    """Whether a peer has a feature: its bit and all marks of its incarnation."""
    return features & mask == mask
