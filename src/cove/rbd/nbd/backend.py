"""What an NBD export is made of: the `Backend` interface, and the one over an RBD image.

`server.py` calls nothing else. Errors are exceptions that carry an `errno`; any other exception is told as EIO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from .replies import Buffer, Segment

if TYPE_CHECKING:
    from ..image import Image


class Backend(Protocol):
    """Random access to some bytes. Several calls run at a time; offsets and lengths are within `size`."""

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    @property
    def durable_writes(self) -> bool:
        """Whether a change that has returned survives a crash. If not, FUA is served by a flush."""
        ...

    async def read(self, offset: int, length: int) -> Sequence[Segment]:
        """Consecutive pieces that cover the range; None marks a hole."""
        ...

    async def write(self, offset: int, data: Buffer) -> None:
        """Write; `data` now belongs to the backend."""
        ...

    async def discard(self, offset: int, length: int) -> None:
        """The content of the range is no longer needed (whatever of it stays is fine)."""
        ...

    async def write_zeroes(self, offset: int, length: int, *, thick: bool) -> None:
        """Make the range read as zeros; thick: and stay allocated."""
        ...

    async def flush(self) -> None:
        """Returns when all changes that were begun before are durable."""
        ...

    async def block_status(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        """Lengths of consecutive extents that cover the range, and whether each may hold data."""
        ...

    async def close(self) -> None:
        """Give the backend up; it is not used any more."""
        ...


class ImageBackend:
    """An open RBD image as the backend of an export; closing it closes the image."""

    durable_writes = True
    """The OSD acknowledges a write only after its commit."""

    def __init__(self, image: Image) -> None:
        self.image = image

    @property
    def size(self) -> int:
        """Size of the image in bytes."""
        return self.image.size

    async def read(self, offset: int, length: int) -> Sequence[Segment]:
        """Pieces as the image has them: absent objects are holes."""
        return await self.image.read_segments(offset, length)

    async def write(self, offset: int, data: Buffer) -> None:
        """Write and commit."""
        await self.image.write(offset, data)

    async def discard(self, offset: int, length: int) -> None:
        """Give back whole blocks; partial ones stay as they are (`rbd_skip_partial_discard`)."""
        await self.image.discard(offset, length)

    async def write_zeroes(self, offset: int, length: int, *, thick: bool) -> None:
        """Zeros, by discarding unless `thick`."""
        await self.image.write_zeroes(offset, length, thick=thick)

    async def flush(self) -> None:
        """Wait for earlier writes."""
        await self.image.flush()

    async def block_status(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        """From the object map: an absent object is a hole."""
        return await self.image.block_status(offset, length)

    async def close(self) -> None:
        """Close the image, which releases its exclusive lock."""
        await self.image.close()
