"""The engine: one LMDB environment, its superblock, its readers and its commits.

One process at a time. A commit writes one `Layer` in one transaction with one fsync; everything else here reads.

The size of a chunk was measured (4 to 64 KiB; 4 KiB random durable writes with 64 waiting, and 4 MiB sequential
ones): 16 KiB is within 10 % of the best for both (4 KiB: 4 MiB writes 7 times slower; 64 KiB: a third fewer random
writes). Each store remembers the size it was made with.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import lmdb
import structlog

from . import omap_table
from .errors import StoreError
from .info import ObjectInfo, PgInfo
from .keys import number_prefix, parse_pg_key
from .layer import Layer
from .mapping import Mapping

log = structlog.get_logger(__name__)

FORMAT = 1
CHUNK_SIZE = 16 * 1024
_MAGIC = b"cove-store"
_SUPERBLOCK = struct.Struct("<10sHI16sQ")
_SUPERBLOCK_KEY = b"superblock"
_NEXT_NUMBER_KEY = b"next_object_number"
RESERVE_BYTES = 8 << 20
"""So much of the file is allocated beyond what is used, so that there is room for deletes on a disk that is full."""
RESERVE_SHARE = 16
"""In a small map, the reserve is this part of it."""
TABLES = ("objects", "data", "attrs", "omap", "pgs", "meta")


class Engine:
    """An open store. `commit` may run in another thread than the rest; readers never wait for it."""

    def __init__(self, path: Path, *, map_size_bytes: int) -> None:
        """Open or create the store in directory `path`.

        Raises StoreError if another process has it open, or it has a format that is not ours.
        """
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = self._take_lock()
        try:
            self.env = self._open(map_size_bytes)
            self.map_size = int(self.env.info()["map_size"])
            self._db: dict[str, Any] = {name: self.env.open_db(name.encode()) for name in TABLES}
            self.objects = self._db["objects"]
            self.data = self._db["data"]
            self.attrs = self._db["attrs"]
            self.omap = self._db["omap"]
            self._load_superblock()
            self.reserve = min(RESERVE_BYTES, self.map_size // RESERVE_SHARE)
            self._file_bytes = 0
            self.allocate_reserve()
            self.mapping = Mapping(path / "data.mdb")
        except BaseException:
            os.close(self._lock_fd)
            raise
        self.commits = 0

    def _take_lock(self) -> int:
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StoreError(
                f"the store in {self.path} is open in another process (pid {holder}): stop that one first"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _open(self, map_size_bytes: int) -> Any:
        try:
            return lmdb.open(
                str(self.path),
                map_size=map_size_bytes,
                subdir=True,
                max_dbs=len(TABLES) + 8,
                mode=0o600,
                readahead=False,
                writemap=False,
                metasync=True,
                sync=True,
                lock=True,
                max_readers=64,
                max_spare_txns=4,
            )
        except lmdb.Error as error:
            raise StoreError(f"the store in {self.path} can't be opened: {error}") from error

    def _load_superblock(self) -> None:
        with self.env.begin() as txn:
            record = txn.get(_SUPERBLOCK_KEY, db=self._db["meta"])
            number = txn.get(_NEXT_NUMBER_KEY, db=self._db["meta"])
        if record is None:
            self.fsid, self.chunk_size = uuid4(), CHUNK_SIZE
            record = _SUPERBLOCK.pack(_MAGIC, FORMAT, self.chunk_size, self.fsid.bytes, time.time_ns())
            with self.env.begin(write=True) as txn:
                txn.put(_SUPERBLOCK_KEY, record, db=self._db["meta"])
            log.info("store_created", path=str(self.path), fsid=str(self.fsid))
        if len(record) < 12 or record[:10] != _MAGIC:
            raise StoreError(f"{self.path} holds an LMDB environment that is no store of Cove's")
        (found,) = struct.unpack_from("<H", record, 10)
        if found != FORMAT:
            raise StoreError(
                f"the store in {self.path} has format {found}, this version of Cove reads format {FORMAT}: "
                "use the version that wrote it to export its images"
            )
        _, _, self.chunk_size, fsid, _ = _SUPERBLOCK.unpack(record)
        self.fsid = UUID(bytes=fsid)
        self.next_number: int = struct.unpack("<Q", number)[0] if number else 1
        self._durable_number = self.next_number

    def close(self) -> None:
        """Close the environment and let other processes have it."""
        self.mapping.close()
        self.env.close()
        os.close(self._lock_fd)

    def begin(self) -> Any:
        """A read transaction: what is durable now. Values are buffers that live as long as it does."""
        return self.env.begin(buffers=True)

    def load_pgs(self) -> dict[tuple[int, int], PgInfo]:
        """The counters of all placement groups."""
        with self.env.begin() as txn:
            return {parse_pg_key(key): PgInfo.unpack(value) for key, value in txn.cursor(self._db["pgs"])}

    def get_meta(self, key: bytes) -> bytes | None:
        """A durable value of the table `meta`."""
        with self.env.begin() as txn:
            value = txn.get(key, db=self._db["meta"])
        return bytes(value) if value is not None else None

    def meta_items(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """The durable entries of the table `meta` whose keys begin with `prefix`, in order."""
        with self.env.begin() as txn:
            return list(_scan(txn.cursor(self._db["meta"]), prefix))

    def object_count(self) -> int:
        """How many objects are durable."""
        with self.env.begin() as txn:
            return int(txn.stat(self.objects)["entries"])

    def pages(self) -> tuple[int, int, int]:
        """How many pages hold something, how many the file has in all, and the bytes of one."""
        with self.env.begin() as txn:
            stats = [self.env.stat(), *(txn.stat(table) for table in self._db.values())]
        used = 2 + sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return used, max(used, int(self.env.info()["last_pgno"]) + 1), int(stats[0]["psize"])

    def allocate_reserve(self) -> None:
        """Have the disk give the file more than is used of it; as much as there is."""
        used = (int(self.env.info()["last_pgno"]) + 1) * mmap.PAGESIZE
        if used + self.reserve <= self._file_bytes:
            return
        end = min(used + 2 * self.reserve, self.map_size)
        fd = os.open(self.path / "data.mdb", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(fd, used, end - used)
        except OSError as error:
            log.debug("reserve_not_allocated", path=str(self.path), error=str(error))
        finally:
            self._file_bytes = os.fstat(fd).st_size
            os.close(fd)

    def file_bytes(self) -> int:
        """Bytes that the file has, used or not."""
        return self._file_bytes

    def object_keys(self, prefix: bytes, limit: int) -> list[tuple[bytes, ObjectInfo]]:
        """The first durable objects whose keys begin with `prefix`."""
        found: list[tuple[bytes, ObjectInfo]] = []
        with self.env.begin() as txn:
            for key, record in _scan(txn.cursor(self.objects), prefix):
                if len(found) >= limit:
                    break
                found.append((key, ObjectInfo.unpack(record)))
        return found

    def commit(self, layer: Layer, next_number: int) -> None:
        """Write a layer in one transaction. When it returns, the layer is durable.

        Raises lmdb.Error; then nothing of the layer is there.
        """
        # Each call into LMDB gives up the interpreter lock and may have to wait for it: few calls, much in each.
        with self.env.begin(write=True) as txn:
            for number in layer.purged:
                for table in (self.data, self.attrs, self.omap):
                    _delete_prefix(txn.cursor(table), number_prefix(number))
                self.mapping.trim()  # deleting looks at every chunk
            _store(txn, self.data, layer.data)
            _store(txn, self.attrs, layer.attrs)
            for number, changes in layer.omap.items():
                if changes.cleared:
                    _delete_prefix(txn.cursor(self.omap), number_prefix(number))
                _store(txn, self.omap, omap_table.entries(txn, self.omap, number, changes))
            objects = {key: info.pack() if info is not None else None for key, info in layer.objects.items()}
            _store(txn, self.objects, objects)
            _store(txn, self._db["pgs"], layer.pgs)
            meta: dict[bytes, Any] = {**layer.records, **layer.meta}
            if next_number != self._durable_number:
                meta[_NEXT_NUMBER_KEY] = struct.pack("<Q", next_number)
            _store(txn, self._db["meta"], meta)
        self._durable_number = next_number
        self.commits += 1
        self.allocate_reserve()
        self.mapping.trim()


def _store(txn: Any, table: Any, changes: dict[bytes, Any]) -> None:
    """Put and delete, in the order of the keys, which keeps the writes of a B-tree close together."""
    if not changes:
        return
    puts = [(key, value) for key, value in changes.items() if value is not None]
    if puts:
        puts.sort(key=_first)
        cursor = txn.cursor(table)
        cursor.putmulti(puts)
        cursor.close()
    if len(puts) != len(changes):
        for key, value in changes.items():
            if value is None:
                txn.delete(key, db=table)


def _first(item: tuple[bytes, Any]) -> bytes:
    return item[0]


def _scan(cursor: Any, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not cursor.set_range(prefix):
        return
    items: Iterable[tuple[bytes, bytes]] = cursor.iternext(keys=True, values=True)
    for key, value in items:
        if not key.startswith(prefix):
            return
        yield key, value


def _delete_prefix(cursor: Any, prefix: bytes) -> None:
    if cursor.set_range(prefix):
        while bytes(cursor.key()).startswith(prefix):
            if not cursor.delete():
                break
    cursor.close()
