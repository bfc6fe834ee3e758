"""Snapshots of one object: the set that an OSD keeps with it, and the answer of list_snaps.

A clone is the object as it was before the first write after a snapshot; it serves all snapshots up to its id.

Source: Ceph's osd/osd_types.h (`SnapSet`), librados/snap_set_diff.h, osd_types.h (`obj_list_snap_response_t`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from .encoding import Decoder, Encoder
from .structure import U64, Codec, Structure, list_of, map_of
from .types import NOSNAP


class Interval(NamedTuple):
    """A range of bytes."""

    offset: int
    length: int


def _encode_interval(encoder: Encoder, interval: Interval) -> None:
    encoder.u64(interval.offset)
    encoder.u64(interval.length)


def _encode_true(encoder: Encoder, _value: bool) -> None:
    encoder.bool(True)


INTERVAL: Codec[Interval] = Codec(_encode_interval, lambda decoder: Interval(decoder.u64(), decoder.u64()))
INTERVALS = list_of(INTERVAL)
"""Disjoint and ascending: a map of offset to length has the same bytes."""
SNAP_IDS = list_of(U64)


@dataclass(slots=True)
class SnapSet(Structure):
    """What is known of an object's clones; all maps go by clone id.

    `overlaps` are the ranges that a clone shares with the next newer one (for the newest: with the head). `snaps` was
    used by releases before 15. `clone_snaps` are descending.
    """

    seq: int = 0
    head_exists: bool = True
    snaps: list[int] = field(default_factory=list)
    clones: list[int] = field(default_factory=list)
    overlaps: dict[int, list[Interval]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    clone_snaps: dict[int, list[int]] = field(default_factory=dict)

    FRAME: ClassVar = (3, 2)
    FIELDS: ClassVar = (
        ("seq", U64),
        ("head_exists", Codec(_encode_true, Decoder.bool)),
        ("snaps", SNAP_IDS),
        ("clones", SNAP_IDS),
        ("overlaps", map_of(U64, INTERVALS)),
        ("sizes", map_of(U64, U64)),
        ("clone_snaps", map_of(U64, SNAP_IDS)),
    )


@dataclass(frozen=True, slots=True)
class CloneInfo(Structure):
    """One clone of list_snaps. `snaps` are ascending; the head has the id NOSNAP and no snaps."""

    id: int = NOSNAP
    snaps: list[int] = field(default_factory=list)
    overlap: list[Interval] = field(default_factory=list)
    size: int = 0

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("id", U64), ("snaps", SNAP_IDS), ("overlap", INTERVALS), ("size", U64))


@dataclass(frozen=True, slots=True)
class SnapList(Structure):
    """Output of list_snaps: the clones ascending, then the head unless it is deleted."""

    clones: list[CloneInfo] = field(default_factory=list)
    seq: int = 0

    FRAME: ClassVar = (2, 1)
    FIELDS: ClassVar = (("clones", list_of(CloneInfo.codec())), ("seq", U64))
