"""`Layer`: the changes that will be committed together, in memory until they are durable.

At any time there are at most two: the one that the commit thread is writing, and the one that is being filled.
Readers look into them, newest first, before they look into LMDB (`state.py`); a layer is dropped when its commit
has been confirmed, or, with all that was built on it, when the commit has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..wire.encoding import Buffer
from .info import ObjectInfo

RECORDED_MAX = 4096
"""Answers of requests that changed nothing, which wait in memory for a commit that they can come along with."""


@dataclass(slots=True)
class OmapChanges:
    """Pending changes of one object's omap: `cleared` comes first, None is a removed key."""

    cleared: bool = False
    keys: dict[bytes, bytes | None] = field(default_factory=dict)


@dataclass(slots=True)
class Layer:
    """Pending changes by table. None is a removed entry."""

    number: int
    objects: dict[bytes, ObjectInfo | None] = field(default_factory=dict)
    data: dict[bytes, Buffer | None] = field(default_factory=dict)
    """A bytearray belongs to the layer and may be changed in place while the layer is being filled."""
    attrs: dict[bytes, bytes | None] = field(default_factory=dict)
    omap: dict[int, OmapChanges] = field(default_factory=dict)
    purged: list[int] = field(default_factory=list)
    """Numbers of deleted objects: all their entries go."""
    dirty_pgs: set[tuple[int, int]] = field(default_factory=set)
    pgs: dict[bytes, bytes] = field(default_factory=dict)
    """The counters of the dirty placement groups, as they were when the layer was closed."""
    meta: dict[bytes, bytes | None] = field(default_factory=dict)
    records: dict[bytes, Buffer | None] = field(default_factory=dict)
    """More of the table `meta`, which comes along but is nothing to commit for."""
    recorded: int = 0
    """Answers in `records`. With very many of them they are something to commit for, too."""
    operations: int = 0
    bytes: int = 0
    done: list[Callable[[int], None]] = field(default_factory=list)
    """Called on the event loop when the layer is durable (0) or lost (negative errno)."""

    @property
    def must_commit(self) -> bool:
        """Whether somebody waits for it, or something of weight is in it. Counters alone can wait."""
        return bool(self.done or self.objects or self.meta or self.purged) or self.recorded >= RECORDED_MAX
