"""Counters of a store. Take a copy before and after: the difference says what happened in between."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(slots=True)
class StoreStats:
    """What the store has done since it was started."""

    operations: int = 0
    """Requests (vectors) that were executed, reads and failed ones included."""
    writes: int = 0
    """Of these, vectors that changed something."""
    commits: int = 0
    """LMDB transactions, each with one fsync."""
    bytes_read: int = 0
    """Output of the requests."""
    bytes_written: int = 0
    """Data, xattrs and omap as they were given."""
    duplicates: int = 0
    """Requests that had been executed before and got the recorded answer."""

    def copy(self) -> StoreStats:
        """The counters now."""
        return replace(self)

    def since(self, before: StoreStats) -> StoreStats:
        """What happened after the copy `before` was taken."""
        return StoreStats(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))
