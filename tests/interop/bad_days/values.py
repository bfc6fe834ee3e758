"""Values: unique payloads of various sizes, and their numbers found again in what objects hold.

A payload begins with its number and its length, the rest follows from the number: one that is torn, mixed with
another or cut short does not parse.
"""

from __future__ import annotations

import random

from tests.linearizability import NotLinearizable

HEAD_BYTES = 16


class Values:
    """Gives numbers out; remembers nothing."""

    def __init__(self, sizes: tuple[int, int], dice: random.Random) -> None:
        """`sizes` of payloads in bytes, from and to."""
        assert HEAD_BYTES <= sizes[0] <= sizes[1] < 10**8
        self._sizes = sizes
        self._salt = dice.randrange(1 << 30)
        self._last = 0

    def new(self) -> int:
        """A number that was not given out before."""
        self._last += 1
        return self._last

    def data(self, number: int) -> bytes:
        """The payload of a number."""
        low, high = self._sizes
        size = low + (number * 2654435761 + self._salt) % (high - low + 1)
        filler = b"%08d" % (number * 7919 % 10**8)
        return (b"%08d%08d" % (number, size) + filler * (size // 8))[:size]

    def parse(self, data: bytes) -> tuple[int, ...]:
        """The numbers of the payloads that follow one another. Raises NotLinearizable for anything else."""
        found: list[int] = []
        at = 0
        while at < len(data):
            head = data[at : at + HEAD_BYTES]
            number = int(head[:8]) if head[:8].isdigit() else 0
            whole = self.data(number)
            if not number or data[at : at + len(whole)] != whole:
                raise NotLinearizable(f"at byte {at} of {len(data)} is no whole value: {bytes(head)!r}")
            found.append(number)
            at += len(whole)
        return tuple(found)
