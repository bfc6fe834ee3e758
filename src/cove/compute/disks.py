"""What compute asks of block storage. The implementation over RADOS block devices is given to it at assembly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cove.errors import CoveError

POOL = "rbd"
IMAGE_POOL = "images"
DISK_BYTES_MIN = 4 << 20
DISK_BYTES_MAX = 1 << 50
SECTOR_BYTES = 512


class DiskExists(CoveError):
    """There is a disk of that name already."""


class DiskInfo(Protocol):
    """A disk, as far as compute looks at it: what it is made of, and what making it took."""

    @property
    def size_bytes(self) -> int:
        """Its size."""
        ...

    @property
    def id(self) -> str:
        """The id in its objects' names."""
        ...

    @property
    def object_names(self) -> Sequence[str]:
        """Its metadata objects."""
        ...

    @property
    def operations(self) -> int:
        """Storage operations that its creation took."""
        ...

    @property
    def commits(self) -> int:
        """Durable commits that these took."""
        ...


class DiskService(Protocol):
    """Disks by pool and name."""

    async def create(self, pool: str, name: str, size_bytes: int, *, source_image: str | None) -> None:
        """Make a disk: blank, or a copy of an image of pool "images" and at least as large. All or nothing.

        Raises DiskExists.
        """
        ...

    async def remove(self, pool: str, name: str) -> None:
        """Remove a disk; one that is absent is no error."""
        ...

    async def export(self, pool: str, name: str, socket_path: Path, *, uid: int, gid: int) -> None:
        """Serve the disk by NBD on a unix socket that belongs to the user, under export name `name`."""
        ...

    async def unexport(self, pool: str, name: str) -> None:
        """End the export and remove its socket; a disk that is not exported is no error."""
        ...

    async def info(self, pool: str, name: str) -> DiskInfo:
        """Raises CoveError if there is no such disk."""
        ...
