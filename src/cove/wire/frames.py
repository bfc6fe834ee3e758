"""Frames: what a msgr2.1 connection is made of once the banners have passed. Bytes in, `Frame`s out, and back.

    crc mode     preamble (32) | segment 1 | its crc, if it is not empty | segments 2..n | epilogue (13)
    secure mode  A: preamble + first 48 bytes of segment 1 | B: rest of segment 1 | C: segments 2..n, late status

The epilogue (late status and the crcs of segments 2..4) and unit C are there only with more than one segment. Control
frames have one; a MESSAGE has up to four: header, front, middle, data. A connection begins in crc mode; both
directions switch to secure mode after AUTH_DONE, if that is what the ends agreed on.

`FrameReader` copies a segment once, out of the chunks as they came from the socket, and a large one while it arrives,
so that its chunks can be used again; `FrameWriter` joins small frames into one piece and leaves large data where it is.

Source: Ceph's doc/dev/msgr2 ("Message frame format"), msg/async/frames_v2.h.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from io import BytesIO
from typing import Final, NamedTuple

from .crc import CRC_MASK, crc32c_extend
from .encoding import Buffer
from .errors import PeerError, UsageError
from .frame_crypto import GCM_TAG_BYTES, DirectionCipher


class Tag(IntEnum):
    """Kinds of frames."""

    HELLO = 1
    AUTH_REQUEST = 2
    AUTH_BAD_METHOD = 3
    AUTH_REPLY_MORE = 4
    AUTH_REQUEST_MORE = 5
    AUTH_DONE = 6
    AUTH_SIGNATURE = 7
    CLIENT_IDENT = 8
    SERVER_IDENT = 9
    IDENT_MISSING_FEATURES = 10
    SESSION_RECONNECT = 11
    SESSION_RESET = 12
    SESSION_RETRY = 13
    SESSION_RETRY_GLOBAL = 14
    SESSION_RECONNECT_OK = 15
    WAIT = 16
    MESSAGE = 17
    KEEPALIVE2 = 18
    KEEPALIVE2_ACK = 19
    ACK = 20
    COMPRESSION_REQUEST = 21
    COMPRESSION_DONE = 22


CONTROL_BYTES_MAX: Final = 64 << 10
"""Segment of a control frame. Authentication blobs, the largest ones, stay below 4 KiB."""
HEADER_BYTES_MAX: Final = 64 << 10
"""Segment 1 of a MESSAGE; 41 bytes today."""
FRONT_MIDDLE_BYTES_MAX: Final = 64 << 20
DATA_BYTES_MAX: Final = 128 << 20

_TAG_MIN, _TAG_MAX = int(min(Tag)), int(max(Tag))
_MESSAGE: Final = int(Tag.MESSAGE)
"""As a plain number: looking up an enumeration's member is what hot paths can do without."""
_SEGMENTS_MAX = 4
_SEGMENT_NAMES = ("header", "front", "middle", "data")
_ALIGN, _ALIGN_DATA = 8, 4096
_PREAMBLE_BYTES = 32
_PREAMBLE = struct.Struct("<BBIHIHIHIHBBI")
_PREAMBLE_HEAD = struct.Struct("<BBIHIHIHIHBB")
_U32 = struct.Struct("<I")
_EPILOGUE = struct.Struct("<BIII")
_EPILOGUE_BYTES = _EPILOGUE.size
_FLAG_COMPRESSED = 1
_LATE_COMPLETE, _LATE_ABORTED, _LATE_MASK = 0xE, 0x1, 0xF
_INLINE_BYTES = 48
_BLOCK = 16
_UNIT_A_BYTES = _PREAMBLE_BYTES + _INLINE_BYTES + GCM_TAG_BYTES
_LATE_BLOCK = bytes((_LATE_COMPLETE,)) + bytes(_BLOCK - 1)

_JOIN_BYTES_MAX = 32 << 10
"""Frames up to this size leave as one piece: copying them costs less than another entry of writev."""
_SMALL_CHUNK_BYTES = 4 << 10
_TAIL_BYTES_MAX = 64 << 10
_LARGE_BYTES = 1 << 20
"""A piece of this size is put together while it arrives. With all its chunks kept until the end a frame needs twice
its memory, which allocators then tend to give back and fetch again, page by page, for every single frame."""
_LARGE_AHEAD = 16
"""... once this part of it is there, so that what is promised and does not come takes no memory."""


class Frame(NamedTuple):
    """A frame that arrived whole and sound: its tag (a `Tag`) and its one to four segments."""

    tag: int
    segments: Sequence[Buffer]


class _Pending(NamedTuple):
    """A preamble that was read; what follows it has not arrived yet."""

    tag: int
    lengths: tuple[int, ...]
    sizes: tuple[int, ...]
    """What to cut the rest into."""
    rest_bytes: int
    inline: bytes


def _padded(length: int) -> int:
    return (length + _BLOCK - 1) & -_BLOCK


def tag_name(tag: int) -> str:
    """`MESSAGE`, or `tag 99` for what is none."""
    return Tag(tag).name if _TAG_MIN <= tag <= _TAG_MAX else f"tag {tag}"


def _segment_name(tag: int, index: int) -> str:
    return f"segment {index + 1} ({_SEGMENT_NAMES[index]}) of {tag_name(tag)}"


def _check_lengths(tag: int, lengths: tuple[int, ...]) -> None:
    """Refuse what is too large before a byte of it is stored."""
    if tag != _MESSAGE:
        if len(lengths) != 1:
            raise PeerError(f"{tag_name(tag)} has {len(lengths)} segments; a control frame has one")
        if lengths[0] > CONTROL_BYTES_MAX:
            raise PeerError(f"{tag_name(tag)} of {lengths[0]} bytes; {CONTROL_BYTES_MAX} is the limit")
        return
    if lengths[-1] == 0 and len(lengths) > 1:
        raise PeerError(f"the last segment of {len(lengths)} of MESSAGE is empty")
    if lengths[0] > HEADER_BYTES_MAX:
        raise PeerError(f"MESSAGE with a header of {lengths[0]} bytes; {HEADER_BYTES_MAX} is the limit")
    if sum(lengths[1:3]) > FRONT_MIDDLE_BYTES_MAX:
        raise PeerError(
            f"MESSAGE with {sum(lengths[1:3])} bytes of front and middle; {FRONT_MIDDLE_BYTES_MAX} is the limit"
        )
    if len(lengths) == _SEGMENTS_MAX and lengths[3] > DATA_BYTES_MAX:
        raise PeerError(f"MESSAGE with {lengths[3]} bytes of data; {DATA_BYTES_MAX} is the limit")


class FrameReader:
    """Takes bytes in any cut and gives frames. After a PeerError the connection is lost: don't read on.

    At most one frame is held back besides what was fed last, and never more than arrived.
    """

    __slots__ = (
        "_available",
        "_chunks",
        "_cipher",
        "_filled",
        "_filling",
        "_head_bytes",
        "_pending",
        "_pieces",
        "_pos",
        "messages_allowed",
        "transcript",
    )

    def __init__(self) -> None:
        self._chunks: deque[Buffer] = deque()
        self._pos = 0
        self._available = 0
        self._head_bytes = _PREAMBLE_BYTES
        self._pending: _Pending | None = None
        self._pieces: list[bytes] = []  # of the pending frame, as far as they were cut already
        self._filling: BytesIO | None = None  # the next one, if it is large
        self._filled = 0
        self._cipher: DirectionCipher | None = None
        self.messages_allowed = True
        """False: a MESSAGE is refused by its preamble, so that strangers can't make us store one."""
        self.transcript: bytearray | None = None
        """If set, whatever is consumed is appended to it, as it was on the wire."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes that came and were not given out yet."""
        return self._available + self._filled + sum(map(len, self._pieces))

    def switch_to_secure(self, key: bytes, nonce: bytes) -> None:
        """What follows is in secure mode, from the next frame on."""
        assert self._pending is None, "the mode changes between frames"
        self._cipher = DirectionCipher(key, nonce)
        self._head_bytes = _UNIT_A_BYTES

    def feed(self, data: Buffer) -> None:
        """Append what arrived. A buffer that is not `bytes` is copied; it may be used again."""
        size = len(data)
        if not size:
            return
        self._available += size
        chunks = self._chunks
        if chunks and size < _SMALL_CHUNK_BYTES:
            # a peer that sends single bytes must not make us keep an object for each
            last = chunks[-1]
            if type(last) is bytearray and len(last) < _TAIL_BYTES_MAX:
                last += data
            else:
                chunks.append(bytearray(data))
        else:
            chunks.append(data if type(data) is bytes else bytes(data))

    def take(self, size: int) -> bytes:
        """The next `size` bytes, which have to be there (for the banner)."""
        assert size <= self._available
        return self._cut((size,))[0]

    def next_frame(self) -> Frame | None:
        """The next whole frame, None if more bytes are needed. Raises PeerError. Aborted frames are skipped."""
        while True:
            pending = self._pending
            if pending is None:
                if self._available < self._head_bytes:
                    return None
                pending = self._read_head()
            if pending[3] >= _LARGE_BYTES:
                pieces = self._gather_pieces(pending[2])
                if pieces is None:
                    self._pending = pending
                    return None
            elif self._available < pending[3]:
                self._pending = pending
                return None
            else:
                pieces = self._cut(pending[2]) if pending[3] else []
            self._pending = None
            cipher = self._cipher
            segments = _read_crc(pending, pieces) if cipher is None else _read_secure(pending, pieces, cipher)
            if segments is not None:
                return Frame(pending[0], segments)

    def _cut(self, sizes: Sequence[int]) -> list[bytes]:
        """Consume pieces of these sizes, which have arrived: the only place where payload is copied."""
        chunk, pos = self._chunks[0], self._pos
        if type(chunk) is not bytes:
            chunk = self._chunks[0] = bytes(chunk)
        end = pos + sum(sizes)
        if end > len(chunk):
            pieces = [self._gather(size) for size in sizes]
        else:
            pieces = []
            for size in sizes:
                after = pos + size
                pieces.append(chunk[pos:after])
                pos = after
            self._available -= end - self._pos
            self._pos = end
            if end == len(chunk):
                self._chunks.popleft()
                self._pos = 0
        if self.transcript is not None:
            self.transcript += b"".join(pieces)
        return pieces

    def _gather_pieces(self, sizes: Sequence[int]) -> list[bytes] | None:
        """The pieces of a frame that is large, cut as they arrive; None until the last one is there."""
        pieces = self._pieces
        for size in sizes[len(pieces) :]:
            if self._filling is None and self._available < size and size >= _LARGE_BYTES:
                if self._available * _LARGE_AHEAD < size:
                    return None
                self._filling = BytesIO(bytes(size))
            if self._filling is not None:
                if not self._fill(self._filling, size):
                    return None
                pieces.append(self._filling.getvalue())  # its buffer itself, not a copy
                self._filling, self._filled = None, 0
            elif self._available < size:
                return None
            else:
                pieces.append(self._cut((size,))[0] if size else b"")
        self._pieces = []
        return pieces

    def _fill(self, target: BytesIO, size: int) -> bool:
        """Move what is there to a large piece. True: it has its `size`."""
        chunks = self._chunks
        while chunks and self._filled < size:
            chunk = chunks[0]
            part = memoryview(chunk)[self._pos : self._pos + size - self._filled]
            target.write(part)
            self._filled += len(part)
            self._available -= len(part)
            self._pos += len(part)
            if self._pos == len(chunk):
                chunks.popleft()
                self._pos = 0
        return self._filled == size

    def _gather(self, size: int) -> bytes:
        """One piece that may lie across chunks."""
        parts: list[Buffer] = []
        wanted = size
        while wanted:
            chunk = self._chunks[0]
            part = memoryview(chunk)[self._pos : self._pos + wanted]
            parts.append(part)
            wanted -= len(part)
            self._pos += len(part)
            if self._pos == len(chunk):
                self._chunks.popleft()
                self._pos = 0
        self._available -= size
        return b"".join(parts)

    def _read_head(self) -> _Pending:
        head = self._cut((self._head_bytes,))[0]
        inline = b""
        if self._cipher is not None:
            head = self._cipher.open(head, "unit A (preamble)")
            inline = head[_PREAMBLE_BYTES:]
        tag, count, first, _, second, _, third, _, fourth, _, flags, _, crc = _PREAMBLE.unpack_from(head)
        # seed 0 here, 0xffffffff everywhere else
        found = crc32c_extend(head[: _PREAMBLE_BYTES - 4], CRC_MASK) ^ CRC_MASK
        if found != crc:
            raise PeerError(f"the crc of a preamble is {found:#010x}, it says {crc:#010x}")
        if not _TAG_MIN <= tag <= _TAG_MAX:
            raise PeerError(f"a frame has the unknown tag {tag}")
        if not 1 <= count <= _SEGMENTS_MAX:
            raise PeerError(f"{tag_name(tag)} has {count} segments, not 1 to {_SEGMENTS_MAX}")
        if flags & _FLAG_COMPRESSED:
            raise PeerError(f"{tag_name(tag)} is compressed, which was not agreed on")
        lengths = (first, second, third, fourth)[:count]
        _check_lengths(tag, lengths)
        if tag == _MESSAGE and not self.messages_allowed:
            raise PeerError("MESSAGE before the session is ready")
        if self._cipher is None:
            sizes: tuple[int, ...] = (first, 4) if first else (0, 0)
            if count > 1:
                sizes += (*lengths[1:], _EPILOGUE_BYTES)
        else:
            sizes = ()
            if first > _INLINE_BYTES:
                sizes = (_padded(first - _INLINE_BYTES) + GCM_TAG_BYTES,)
            if count > 1:
                sizes += (sum(map(_padded, lengths[1:])) + _BLOCK + GCM_TAG_BYTES,)
        return _Pending(tag, lengths, sizes, sum(sizes), inline)


def _read_crc(pending: _Pending, pieces: list[bytes]) -> list[bytes] | None:
    """Segments of a frame in crc mode; None: its sender has taken it back."""
    tag, lengths, _, rest_bytes, _ = pending
    if not rest_bytes:
        return [b""]
    first = pieces[0]
    if first:
        (crc,) = _U32.unpack(pieces[1])
        found = crc32c_extend(first) ^ CRC_MASK
        if found != crc:
            raise _bad_crc(tag, 0, found, crc)
    if len(lengths) == 1:
        return [first]
    segments = [first, *pieces[2:-1]]
    epilogue = _EPILOGUE.unpack(pieces[-1])
    for index in range(1, len(lengths)):
        found = crc32c_extend(segments[index]) ^ CRC_MASK
        if found != epilogue[index]:
            raise _bad_crc(tag, index, found, epilogue[index])
    return segments if epilogue[0] == _LATE_COMPLETE or _is_complete(epilogue[0], tag) else None


def _read_secure(pending: _Pending, units: list[bytes], cipher: DirectionCipher) -> list[bytes] | None:
    """Segments of a frame in secure mode; None: its sender has taken it back."""
    tag, lengths, _, _, inline = pending
    length = lengths[0]
    first = inline[:length]
    if length > _INLINE_BYTES:
        first += cipher.open(units[0], f"unit B (rest of segment 1) of {tag_name(tag)}")[: length - _INLINE_BYTES]
    if len(lengths) == 1:
        return [first]
    plain = cipher.open(units[-1], f"unit C (segments 2 to {len(lengths)}) of {tag_name(tag)}")
    segments, pos = [first], 0
    for length in lengths[1:]:
        segments.append(plain[pos : pos + length])
        pos += _padded(length)
    return segments if _is_complete(plain[pos], tag) else None


def _bad_crc(tag: int, index: int, found: int, expected: int) -> PeerError:
    return PeerError(f"the crc of {_segment_name(tag, index)} is {found:#010x}, it says {expected:#010x}")


def _is_complete(late_status: int, tag: int) -> bool:
    """False if the sender aborted the frame. The high nibble is reserved."""
    status = late_status & _LATE_MASK
    if status == _LATE_COMPLETE:
        return True
    if status != _LATE_ABORTED:
        raise PeerError(f"{tag_name(tag)} ends with late status {late_status:#04x}, neither complete nor aborted")
    return False


class FrameWriter:
    """Turns segments into the pieces to write, in order. Buffers that are passed in must not change afterwards."""

    __slots__ = ("_cipher",)

    def __init__(self) -> None:
        self._cipher: DirectionCipher | None = None

    def switch_to_secure(self, key: bytes, nonce: bytes) -> None:
        """What follows is written in secure mode."""
        self._cipher = DirectionCipher(key, nonce)

    def frame(self, tag: int, segments: Sequence[Buffer]) -> list[Buffer]:
        """A frame of one to four segments. Empty ones at the end are left out, as the protocol demands.

        Raises UsageError for a segment above the limits of `FrameReader`.
        """
        if len(segments) > _SEGMENTS_MAX:
            raise UsageError(f"a frame of {len(segments)} segments; {_SEGMENTS_MAX} is the limit")
        first, front, middle, data = (*segments, b"", b"", b"")[:_SEGMENTS_MAX]
        return self.message(first, front, middle, (data,) if len(data) else (), tag)

    def message(
        self, header: Buffer, front: Buffer, middle: Buffer, data: Sequence[Buffer], tag: int = _MESSAGE
    ) -> list[Buffer]:
        """A frame whose fourth segment lies in pieces, as the payloads of the operations of a message do."""
        first, second, third, fourth = len(header), len(front), len(middle), 0
        for piece in data:
            fourth += len(piece)
        count = 4 if fourth else 3 if third else 2 if second else 1
        if first > HEADER_BYTES_MAX or second + third > FRONT_MIDDLE_BYTES_MAX or fourth > DATA_BYTES_MAX:
            raise UsageError(f"{tag_name(tag)} with segments of {first}, {second}, {third} and {fourth} bytes")
        head = _PREAMBLE_HEAD.pack(
            tag,
            count,
            first,
            _ALIGN,
            second,
            _ALIGN if count > 1 else 0,
            third,
            _ALIGN if count > 2 else 0,
            fourth,
            _ALIGN_DATA if fourth else 0,
            0,
            0,
        )
        preamble = head + _U32.pack(crc32c_extend(head, CRC_MASK) ^ CRC_MASK)
        if self._cipher is not None:
            return _seal(self._cipher, preamble, header, (front, middle, data) if count > 1 else None)
        parts: list[Buffer] = [preamble]
        if first:
            parts += (header, _U32.pack(crc32c_extend(header) ^ CRC_MASK))
        if count > 1:
            crc = 0
            for piece in data:
                crc = crc32c_extend(piece, crc)
            epilogue = _EPILOGUE.pack(
                _LATE_COMPLETE,
                crc32c_extend(front) ^ CRC_MASK,
                crc32c_extend(middle) ^ CRC_MASK if count > 2 else 0,
                crc ^ CRC_MASK if fourth else 0,
            )
            if second:
                parts.append(front)
            if third:
                parts.append(middle)
            if fourth > _JOIN_BYTES_MAX:
                return [b"".join(parts), *data, epilogue]
            parts += (*data, epilogue)
        return [b"".join(parts)]


def _seal(
    cipher: DirectionCipher, preamble: bytes, first: Buffer, others: tuple[Buffer, Buffer, Sequence[Buffer]] | None
) -> list[Buffer]:
    """Units A, B and C of a frame; `others` are segments 2, 3 and (in pieces) 4, None if there is only one."""
    inline = bytes(first[:_INLINE_BYTES])
    units: list[Buffer] = [cipher.seal(preamble + inline + bytes(_INLINE_BYTES - len(inline)))]
    if len(first) > _INLINE_BYTES:
        rest = bytes(first[_INLINE_BYTES:])
        units.append(cipher.seal(rest + bytes(-len(rest) % _BLOCK)))
    if others is not None:
        front, middle, data = others
        fourth = sum(map(len, data))
        units.append(
            cipher.seal(
                b"".join(
                    (
                        front,
                        bytes(-len(front) % _BLOCK),
                        middle,
                        bytes(-len(middle) % _BLOCK),
                        *data,
                        bytes(-fourth % _BLOCK),
                        _LATE_BLOCK,
                    )
                )
            )
        )
    return [b"".join(units)] if sum(map(len, units)) <= _JOIN_BYTES_MAX else units
