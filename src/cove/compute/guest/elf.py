"""What a program needs in order to run: its loader and its shared libraries, read from the ELF file. Sans-I/O.

Source: System V ABI, "Program Loading and Dynamic Linking"; 64 bits, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_IDENT = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5
_ENTRIES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Needs:
    """Path of the loader (empty: none, a library or a static program) and names of libraries."""

    loader: str
    libraries: tuple[str, ...]


def read_needs(data: bytes) -> Needs:
    """What the ELF file needs. Raises ValueError if it is none, or malformed."""
    try:
        return _read_needs(data)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"malformed ELF file: {error}") from None


def _read_needs(data: bytes) -> Needs:
    if not data.startswith(_IDENT):
        raise ValueError("no ELF file of 64 bits")
    header = _HEADER.unpack_from(data)
    offset, size, count = header[5], header[9], header[10]
    segments = [_SEGMENT.unpack_from(data, offset + n * size) for n in range(count)]
    loader, needed, names_at = "", [], 0
    for kind, _, at, _, _, length, _, _ in segments:
        if kind == _PT_INTERP:
            loader = data[at : at + length].split(b"\0")[0].decode()
        elif kind == _PT_DYNAMIC:
            for n in range(min(length // _DYNAMIC.size, _ENTRIES_MAX)):
                tag, value = _DYNAMIC.unpack_from(data, at + n * _DYNAMIC.size)
                if tag == _DT_NULL:
                    break
                if tag == _DT_NEEDED:
                    needed.append(value)
                elif tag == _DT_STRTAB:
                    names_at = _in_file(segments, value)
    return Needs(loader, tuple(_text(data, names_at + name) for name in needed))


def _in_file(segments: list[tuple[int, ...]], address: int) -> int:
    """Where in the file is what the program has at this address."""
    for kind, _, at, start, _, length, _, _ in segments:
        if kind == _PT_LOAD and start <= address < start + length:
            return at + address - start
    raise ValueError(f"malformed ELF file: nothing is loaded at {address:#x}")


def _text(data: bytes, at: int) -> str:
    if at >= len(data):
        raise ValueError("malformed ELF file: a name beyond its end")
    return data[at : data.index(b"\0", at)].decode()
