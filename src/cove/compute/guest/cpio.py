"""Writer of "newc" cpio archives, the format in which a Linux kernel takes its initramfs.

Pure: entries in, bytes out. Owner is root, times are zero and inode numbers count up, so the same entries give the
same bytes on every machine, and device nodes need no root to make.
Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
ARCHIVE_ALIGNMENT = 512
FIELD_MAX = 0xFFFFFFFF
# Order of the thirteen hexadecimal fields behind the magic.
FIELDS = (
    "ino", "mode", "uid", "gid", "nlink", "mtime", "filesize",
    "devmajor", "devminor", "rdevmajor", "rdevminor", "namesize", "check",
)  # fmt: skip
HEADER_BYTES = len(MAGIC) + 8 * len(FIELDS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: `mode` holds type and permissions; `data` is the content, or a symbolic link's target."""

    name: str
    mode: int
    data: bytes = b""
    rdev: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith("/") or "\0" in self.name or self.name == TRAILER:
            raise ValueError(f"name of an archive member: {self.name!r} (relative path without NUL wanted)")
        if self.data and not (stat.S_ISREG(self.mode) or stat.S_ISLNK(self.mode)):
            raise ValueError(f"{self.name}: only files and symbolic links have content")
        if not 0 <= self.mode <= 0o177777:
            raise ValueError(f"{self.name}: mode {self.mode:o} is not 16 bits")


def directory(name: str, permissions: int = 0o755) -> Entry:
    """A directory."""
    return Entry(name, stat.S_IFDIR | permissions)


def file(name: str, data: bytes, permissions: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(name, stat.S_IFREG | permissions, data)


def symlink(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int, permissions: int = 0o600) -> Entry:
    """A character device node."""
    return Entry(name, stat.S_IFCHR | permissions, rdev=(major, minor))


def _pad(length: int, alignment: int) -> bytes:
    return b"\0" * (-length % alignment)


def _member(ino: int, name: str, mode: int, data: bytes, rdev: tuple[int, int]) -> bytes:
    encoded = name.encode() + b"\0"
    nlink = 2 if stat.S_ISDIR(mode) else 1
    values = (ino, mode, 0, 0, nlink, 0, len(data), 0, 0, rdev[0], rdev[1], len(encoded), 0)
    if max(values) > FIELD_MAX:
        raise ValueError(f"{name}: a field exceeds 32 bits")
    head = MAGIC + b"".join(b"%08X" % value for value in values) + encoded
    head += _pad(len(head), 4)
    return head + data + _pad(len(data), 4)


def write_archive(entries: Iterable[Entry]) -> bytes:
    """The archive of these entries, in this order. Raises ValueError for a name that occurs twice."""
    out = bytearray()
    seen: set[str] = set()
    ino = 0
    for ino, entry in enumerate(entries, start=1):
        if entry.name in seen:
            raise ValueError(f"{entry.name}: twice in the archive")
        seen.add(entry.name)
        out += _member(ino, entry.name, entry.mode, entry.data, entry.rdev)
    out += _member(0, TRAILER, 0, b"", (0, 0))
    out += _pad(len(out), ARCHIVE_ALIGNMENT)
    return bytes(out)


def read_archive(data: bytes) -> list[Entry]:
    """The members of an archive that has no hard links. Raises ValueError if it is malformed."""
    entries: list[Entry] = []
    at = 0
    while True:
        header = data[at : at + HEADER_BYTES]
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            raise ValueError(f"no cpio header at byte {at}")
        texts = [header[len(MAGIC) + 8 * i : len(MAGIC) + 8 * (i + 1)] for i in range(len(FIELDS))]
        values = dict(zip(FIELDS, (int(text, 16) for text in texts), strict=True))
        name_end = at + HEADER_BYTES + values["namesize"]
        name = data[at + HEADER_BYTES : name_end - 1].decode()
        start = name_end + (-name_end % 4)
        if name == TRAILER:
            return entries
        end = start + values["filesize"]
        if end > len(data):
            raise ValueError(f"{name}: cut short")
        rdev = (values["rdevmajor"], values["rdevminor"])
        entries.append(Entry(name, values["mode"], data[start:end], rdev))
        at = end + (-end % 4)
