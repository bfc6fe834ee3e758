"""The disks of VMs: RBD images created, copied, exported by NBD and removed. What compute's `DiskService` asks for.

An image that is exported can't be removed; the export has the image open, and with it its exclusive lock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .. import rbd
from ..compute.disks import DiskExists
from ..errors import CoveError
from ..rados import IoCtx, ObjectNotFound, Rados
from ..rbd.nbd import ImageBackend, NbdServer
from ..store import Store

IMAGES = "images"
"""The pool of what VMs are made from."""
CREATED_MAX = 4096
NAME_BYTES_MAX = 96
"""What Linux' own RBD client takes."""


class DiskError(CoveError):
    """A disk can't do what was asked, in its present state."""


class NoSuchDisk(DiskError):
    """There is no such pool or image."""


class DiskIsThere(DiskError, DiskExists):
    """There is an image of that name already."""


class BadName(DiskError):
    """An image can't be named so."""


def check_image_name(name: str) -> None:
    """Raises BadName for what could not be said again: in a path, in `POOL/IMAGE@SNAPSHOT`, on a terminal."""
    fits = 0 < len(name.encode(errors="replace")) <= NAME_BYTES_MAX
    if not fits or not name.isprintable() or set(name) & set("/@") or name in (".", ".."):
        raise BadName(
            f"image name {name[:NAME_BYTES_MAX]!r}: wanted is printable text without / and @, at most"
            f" {NAME_BYTES_MAX} bytes"
        )


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """An image: what it is made of, and what making it took (0 if that was before this server's start)."""

    pool: str
    name: str
    id: str
    size_bytes: int
    object_size: int
    object_count: int
    features: int
    object_names: tuple[str, ...]
    operations: int
    commits: int


class Disks:
    """Images of all pools of one storage cluster, and the NBD servers that export them."""

    def __init__(self, rados: Rados, store: Store) -> None:
        self.rados = rados
        self.store = store
        self._pools: dict[str, IoCtx] = {}
        self._exports: dict[tuple[str, str], NbdServer] = {}
        self._making: dict[tuple[str, str], tuple[int, int]] = {}
        self._creating = asyncio.Lock()
        self._sources: Counter[str] = Counter()

    async def start(self) -> None:
        """Clear away what a crash left half made. Called before anybody else uses the pools."""
        for name in self.rados.pool_list():
            ioctx = await self.pool(name)
            await rbd.init_pool(ioctx)
            await rbd.repair(ioctx)

    async def pool(self, name: str) -> IoCtx:
        """The I/O context of a pool. Raises NoSuchDisk."""
        ioctx = self._pools.get(name)
        if ioctx is None:
            try:
                ioctx = await self.rados.open_ioctx(name)
            except ObjectNotFound:
                raise NoSuchDisk(f"there is no pool {name!r}: there are {', '.join(self.rados.pool_list())}") from None
            self._pools[name] = ioctx
        return ioctx

    async def create(self, pool: str, name: str, size_bytes: int, *, source_image: str | None) -> None:
        """Make a disk: blank, or a copy of an image of pool "images" and at least as large. All or nothing.

        Raises DiskIsThere, DiskError, NoSuchDisk.
        """
        ioctx = await self.pool(pool)
        async with self._creating:  # so that the commits counted are this image's
            before = self.store.stats.commits
            try:
                created = await rbd.create(ioctx, name, size_bytes, features=None)
            except rbd.ImageExists as error:
                raise DiskIsThere(str(error)) from error
            self._note(pool, name, created.operations, self.store.stats.commits - before)
        if source_image is None:
            return
        self._sources[source_image] += 1
        try:
            await self._copy(source_image, ioctx, name, size_bytes)
        except BaseException:
            await asyncio.shield(self.remove(pool, name))
            raise
        finally:
            self._sources[source_image] -= 1

    async def _copy(self, source_image: str, ioctx: IoCtx, name: str, size_bytes: int) -> None:
        """Fill a disk from an image, which must not change meanwhile."""
        exported = self._exports.get((IMAGES, source_image))
        if exported is not None and not exported.read_only:
            raise DiskError(f"image {source_image} is being written to: wait until its import or export has ended")
        async with (
            await rbd.Image.open(await self.pool(IMAGES), source_image, read_only=True) as source,
            await rbd.Image.open(ioctx, name) as target,
        ):
            if source.size > size_bytes:
                raise DiskError(f"image {source_image} has {source.size} bytes, the disk {size_bytes}: make it larger")
            await rbd.copy_image(source, target)

    def _is_source(self, pool: str, name: str) -> bool:
        return pool == IMAGES and self._sources[name] > 0

    def _note(self, pool: str, name: str, operations: int, commits: int) -> None:
        self._making[pool, name] = (operations, commits)
        if len(self._making) > CREATED_MAX:
            del self._making[next(iter(self._making))]

    async def remove(self, pool: str, name: str, *, missing_ok: bool = True) -> None:
        """Remove a disk, or what is left of one. Raises DiskError if it is exported, NoSuchDisk unless `missing_ok`."""
        if (pool, name) in self._exports:
            raise DiskError(f"{pool}/{name} is in use (exported): end what uses it first")
        if self._is_source(pool, name):
            raise DiskError(f"{pool}/{name} is being copied to a VM's disk: wait until that has ended")
        try:
            await rbd.remove(await self.pool(pool), name)
        except rbd.ImageNotFound:
            if not missing_ok:
                raise self._absent(pool, name) from None
        self._making.pop((pool, name), None)

    async def info(self, pool: str, name: str) -> DiskInfo:
        """What an image is. Raises NoSuchDisk."""
        ioctx = await self.pool(pool)
        try:
            async with await rbd.Image.open(ioctx, name, read_only=True) as image:
                stat = image.stat()
        except rbd.ImageNotFound:
            raise self._absent(pool, name) from None
        operations, commits = self._making.get((pool, name), (0, 0))
        return DiskInfo(
            pool=pool,
            name=name,
            id=stat.id,
            size_bytes=stat.size,
            object_size=stat.object_size,
            object_count=stat.object_count,
            features=stat.features,
            object_names=(f"rbd_id.{name}", f"rbd_header.{stat.id}"),
            operations=operations,
            commits=commits,
        )

    def _absent(self, pool: str, name: str) -> NoSuchDisk:
        return NoSuchDisk(f"there is no image {pool}/{name}: `cove rbd ls` shows what there is")

    async def list(self, pool: str) -> list[DiskInfo]:
        """All images of a pool, by name. One that is removed meanwhile is left out."""
        names = await rbd.list_images(await self.pool(pool))
        found = []
        for name in names:
            try:
                found.append(await self.info(pool, name))
            except NoSuchDisk:
                continue
        return found

    async def export(self, pool: str, name: str, socket_path: Path, *, uid: int = -1, gid: int = -1) -> None:
        """Serve the disk by NBD on a unix socket of mode 0600 that belongs to the user, under export name `name`."""
        server = await self.new_export(pool, name, read_only=False)
        try:
            await server.listen_unix(socket_path, uid=uid, gid=gid)
        except BaseException:
            await self.unexport(pool, name)
            raise

    async def new_export(self, pool: str, name: str, *, read_only: bool) -> NbdServer:
        """An NBD server for the image that does not listen yet; `unexport` ends it. Raises DiskError, NoSuchDisk."""
        await self.info(pool, name)
        if (pool, name) in self._exports:
            raise DiskError(f"{pool}/{name} is exported already: a VM that runs has its disk to itself")
        if not read_only and self._is_source(pool, name):
            raise DiskError(f"{pool}/{name} is being copied to a VM's disk: wait, or export it read-only")
        server = self._exports[pool, name] = self._nbd_server(pool, name, read_only=read_only)
        return server

    def _nbd_server(self, pool: str, name: str, *, read_only: bool) -> NbdServer:
        async def open_backend(export: str) -> ImageBackend:
            image = await rbd.Image.open(await self.pool(pool), export, read_only=read_only)
            return ImageBackend(image)

        return NbdServer(open_backend, [name], read_only=read_only, description=f"{pool}/{name}")

    async def unexport(self, pool: str, name: str) -> None:
        """End the export and remove its socket; a disk that is not exported is no error."""
        server = self._exports.pop((pool, name), None)
        if server is not None:
            await server.close()

    async def stop(self) -> None:
        """End all exports: what clients have been told is written is written."""
        for pool, name in list(self._exports):
            await self.unexport(pool, name)
        for ioctx in self._pools.values():
            ioctx.close()
        self._pools.clear()
