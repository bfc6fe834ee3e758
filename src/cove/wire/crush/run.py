"""What one run of a CRUSH rule carries along: the prepared buckets, the OSDs' weights, and the account of its work.

Whatever a map holds, a run ends: maps have no cycles (`CrushMap.check`), and each run may look at `work_max` items at
most, which no honest map comes near, while its numbers of tries may ask for billions.

Source: Ceph's crush/mapper.c (is_out).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import PeerError
from .choosers import choosers_for
from .hash import hash2
from .map import WEIGHT_ONE, CrushMap

WORK_MAX: Final = 1 << 22
"""Items that one run may look at. Some seconds of Python."""
CHOICE_WORK: Final = 8
"""What one choice counts besides the bucket's items."""


class Run:
    """What does not change during one run of a rule, and the account of its work."""

    __slots__ = ("choosers", "max_devices", "result_max", "weights", "work", "x")

    def __init__(
        self, crush: CrushMap, x: int, result_max: int, weights: Sequence[int], pool: int, work_max: int
    ) -> None:
        self.choosers = choosers_for(crush, pool)
        self.max_devices = crush.max_devices
        self.x = x & 0xFFFFFFFF
        self.result_max = result_max
        self.weights = weights
        self.work = work_max

    def spend(self, items: int) -> None:
        """Count a choice among so many items. Raises PeerError when it is one too many."""
        self.work -= items + CHOICE_WORK
        if self.work < 0:
            raise PeerError("a CRUSH rule that does not come to an end")

    def is_out(self, device: int) -> bool:
        """Whether a device does not take this seed: always if it is out, by chance if it is partly in."""
        weights = self.weights
        if not 0 <= device < len(weights):
            return True
        weight = weights[device]
        if weight >= WEIGHT_ONE:
            return False
        return not weight or hash2(self.x, device) & 0xFFFF >= weight
