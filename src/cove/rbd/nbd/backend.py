"""What an NBD export is made of: the `Backend` interface, and the one over an RBD image.

`server.py` calls nothing else. Errors are exceptions that carry an `errno`; any other exception is told as EIO.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..errors import Error
from .replies import Buffer, Segment

if TYPE_CHECKING:
    from ..image import Image

STATUS_UNITS_MAX = 16384
"""Stripe units that one answer to a block-status request is made from."""


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
        """Lengths of consecutive extents from `offset` on, and whether each may hold data. They may end early."""
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
        segments = await self.image.read_segments(offset, length)
        if sum(size for size, _ in segments) < length:
            raise Error(f"image {self.image.name!r} has been shrunk to {self.size} bytes", errno=errno.EIO)
        return segments

    async def write(self, offset: int, data: Buffer) -> None:
        """Write and commit."""
        if await self.image.write(offset, data) < len(data):
            raise Error(f"image {self.image.name!r} has been shrunk to {self.size} bytes", errno=errno.ENOSPC)

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
        """From the object map: an absent object is a hole. At most the first so many stripe units: clients go on."""
        return await self.image.block_status(offset, min(length, STATUS_UNITS_MAX * self.image.layout.stripe_unit))

    async def close(self) -> None:
        """Close the image, which releases its exclusive lock."""
        await self.image.close()
