"""Frames. Invariant: any bytes, in any cut, give the same frames or the same PeerError; and nothing else is raised.

The first byte of an input chooses mode and cut, the second whether preambles are mended: without that, hardly any
input would get past the first crc.
"""

from __future__ import annotations

import struct

from cove.wire.crc import ceph_crc32c
from cove.wire.errors import PeerError
from cove.wire.frame_crypto import DirectionCipher
from cove.wire.frames import FrameReader, FrameWriter, Tag

KEY, NONCE = bytes(range(16)), bytes(range(12))


def mended(data: bytes) -> bytes:
    """The same with a right crc in the first preamble, and in the first segment if it is there whole."""
    if len(data) < 32:
        return data
    head = data[:28]
    out = bytearray(head + struct.pack("<I", ceph_crc32c(0, head)) + data[32:])
    (length,) = struct.unpack_from("<I", head, 2)
    if 0 < length <= len(data) - 36:
        struct.pack_into("<I", out, 32 + length, ceph_crc32c(0xFFFFFFFF, data[32 : 32 + length]))
    return bytes(out)


def outcome(data: bytes, step: int, secure: bool) -> list[object]:
    """All frames, then the error's text, if there is one."""
    reader = FrameReader()
    if secure:
        reader.switch_to_secure(KEY, NONCE)
    found: list[object] = []
    try:
        for pos in range(0, len(data), step):
            reader.feed(data[pos : pos + step])
            while (frame := reader.next_frame()) is not None:
                found.append((frame.tag, [bytes(segment) for segment in frame.segments]))
    except PeerError as error:
        found.append(str(error))
    assert reader.buffered_bytes <= len(data)
    return found


def one_input(data: bytes) -> None:
    """The whole input at once and in steps."""
    if len(data) < 2:
        return
    secure, step, payload = bool(data[0] & 1), 1 + (data[0] >> 1), data[2:]
    if data[1] & 1:
        payload = mended(payload)
        if secure:
            # the first unit is sealed properly, so that its content is looked at
            payload = DirectionCipher(KEY, NONCE).seal(payload[:80].ljust(80, b"\0")) + payload[80:]
    assert outcome(payload, step, secure) == outcome(payload, max(1, len(payload)), secure)


def seeds() -> list[bytes]:
    """Sound streams in both modes."""
    found = []
    for secure in (False, True):
        writer = FrameWriter()
        if secure:
            writer.switch_to_secure(KEY, NONCE)
        parts = writer.frame(Tag.ACK, [bytes(8)])
        parts += writer.frame(Tag.MESSAGE, [bytes(60), b"front", b"", b"data"])
        parts += writer.frame(Tag.WAIT, [b""])
        found += [bytes((int(secure) | choice << 1, 0)) + b"".join(parts) for choice in (0, 12, 127)]
    found += [bytes((choice, 1)) + found[0][2:] for choice in (6, 7)]
    return found


if __name__ == "__main__":
    from tests.fuzz.runner import main

    main(one_input, seeds())
