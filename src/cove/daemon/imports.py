"""Images on their way in: made, filled by whoever imports through NBD, and kept only if that came to an end.

A mark on disk is there before the image is, and is removed when the image is whole. So what an interrupted import left,
however it ended, is told from an image and removed: at once, or at the next start.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

import msgspec
import structlog

from ..errors import CoveError
from ..linux import files
from .disks import DiskError, Disks, NoSuchDisk, check_image_name

log = structlog.get_logger(__name__)

IMPORTS_MAX = 64


class Mark(msgspec.Struct, frozen=True):
    """What a mark's file says: which image is being imported."""

    pool: str
    image: str


class Imports:
    """Imports under way. `marks` survives a restart, `sockets` need not."""

    def __init__(self, disks: Disks, marks: Path, sockets: Path) -> None:
        self._disks = disks
        self._marks = marks
        self._sockets = sockets
        self._running: dict[tuple[str, str], Path] = {}

    async def start(self) -> None:
        """Remove what interrupted imports left. What can't be removed now is tried again at the next start."""
        files.ensure_directory(self._marks, mode=0o700)
        files.ensure_directory(self._sockets, mode=0o700)
        for path in self._marks.glob("*.json"):
            try:
                mark = msgspec.json.decode(path.read_bytes(), type=Mark)
                await self._disks.remove(mark.pool, mark.image)
            except (CoveError, msgspec.MsgspecError, OSError) as error:
                log.error("import_left", mark=str(path), error=str(error))
                continue
            path.unlink(missing_ok=True)
            log.info("import_undone", pool=mark.pool, image=mark.image)

    async def begin(self, pool: str, image: str, size_bytes: int) -> Path:
        """Make the image and serve it for writing; the path of the NBD socket, which only root can connect to.

        Raises DiskError (bad or taken name, too many imports), or what making it raises.
        """
        check_image_name(image)
        if len(self._running) >= IMPORTS_MAX:
            raise DiskError(f"{IMPORTS_MAX} imports are under way: wait for one to end")
        with contextlib.suppress(NoSuchDisk):
            await self._disks.info(pool, image)
            raise DiskError(f"{pool}/{image} exists already: choose another name, or delete that image first")
        key = uuid.uuid4().hex
        mark = self._marks / f"{key}.json"
        files.write_atomic(mark, msgspec.json.encode(Mark(pool, image)), durable=True)
        try:
            await self._disks.create(pool, image, size_bytes, source_image=None)
        except BaseException:
            mark.unlink()
            raise
        self._running[pool, image] = mark
        try:
            socket_path = self._sockets / f"{key}.sock"
            server = await self._disks.new_export(pool, image, read_only=False)
            await server.listen_unix(socket_path)
        except BaseException:
            await self.abort(pool, image)
            raise
        return socket_path

    def is_running(self, pool: str, image: str) -> bool:
        """Whether the image is being imported."""
        return (pool, image) in self._running

    async def finish(self, pool: str, image: str) -> None:
        """The data is all there: keep the image. Raises DiskError if it is not being imported."""
        mark = self._running.get((pool, image))
        if mark is None:
            raise DiskError(f"{pool}/{image} is not being imported")
        await self._disks.unexport(pool, image)
        # unlinked under our feet by an abort: then it is no more, and must not be called finished
        if self._running.pop((pool, image), None) is None:
            raise DiskError(f"{pool}/{image}: its import was given up")
        mark.unlink()
        files.sync_directory(self._marks)

    async def abort(self, pool: str, image: str) -> None:
        """Remove the image and what it was imported through; one that is not being imported is no error."""
        mark = self._running.pop((pool, image), None)
        if mark is None:
            return
        await self._disks.unexport(pool, image)
        await self._disks.remove(pool, image)
        mark.unlink(missing_ok=True)
        log.info("import_undone", pool=pool, image=image)
