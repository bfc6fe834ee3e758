"""The object map of an RBD image: two bits for each data object, in the body of `rbd_object_map.ID`.

Layout: u32 14, a versioned struct with the u64 count, the states (object 0 in the top bits of byte 0), and a footer
with a crc32c of the header struct and of each 4096-byte block of states. The answer of `object_map_load` carries an
empty footer, the stored body a full one.

Source: Ceph's common/bit_vector.hpp, librbd/ObjectMap (names and meaning).
"""

from __future__ import annotations

from enum import IntEnum

from .crc import ceph_crc32c
from .encoding import Buffer, Decoder, Encoder
from .errors import PeerError, UsageError

BLOCK_SIZE = 4096
"""Bytes of states that share one crc."""
OBJECTS_PER_BYTE = 4
OBJECTS_PER_BLOCK = BLOCK_SIZE * OBJECTS_PER_BYTE
OBJECTS_MAX = 256_000_000
HEADER_LENGTH = 18
"""Bytes before the states."""
FOOTER_CRCS_OFFSET = 12
"""Bytes from the end of the states to the first block's crc: blob length, header crc, count of crcs."""


class ObjectState(IntEnum):
    """What is known of a data object."""

    NONEXISTENT = 0
    EXISTS = 1
    PENDING = 2
    EXISTS_CLEAN = 3


def states_length(count: int) -> int:
    """Bytes that the states of `count` objects take."""
    return -(-count // OBJECTS_PER_BYTE)


def header_bytes(count: int) -> bytes:
    """The 18 bytes before the states."""
    encoder = Encoder()
    encoder.u32(HEADER_LENGTH - 4)
    with encoder.versioned(1, 1):
        encoder.u64(count)
    return encoder.bytes()


def decode_header(data: Buffer) -> int:
    """The object count. Raises PeerError."""
    decoder = Decoder(Decoder(data).blob())
    with decoder.versioned(1):
        count = decoder.u64()
    if count > OBJECTS_MAX:
        raise PeerError(f"an object map of {count} objects, the limit is {OBJECTS_MAX}")
    return count


def transition_table(new: int, current: int | None) -> bytes:
    """For bytes.translate: each of a byte's four states becomes `new` where `matches(state, current)`."""
    table = bytearray(256)
    for byte in range(256):
        for shift in (0, 2, 4, 6):
            state = byte >> shift & 3
            table[byte] |= (new if matches(state, current) else state) << shift
    return bytes(table)


def matches(state: int, current: int | None) -> bool:
    """Whether an update with that filter changes an object in `state`: exists-clean counts as existing."""
    return current is None or state == current or (current == ObjectState.EXISTS and state == ObjectState.EXISTS_CLEAN)


def update_states(states: bytearray, start: int, end: int, new: int, current: int | None = None) -> bool:
    """Set objects [start, end) of packed `states` to `new` where they match `current`. True if any changed."""
    first, last = start // OBJECTS_PER_BYTE, states_length(end)
    old = bytes(states[first:last])
    updated = bytearray(old.translate(transition_table(new, current)))
    # the outer bytes may hold objects outside of the range: those keep their states
    lead = 0xFF >> (start % OBJECTS_PER_BYTE * 2)
    tail = 0xFF << (-end % OBJECTS_PER_BYTE * 2) & 0xFF
    updated[0] = (updated[0] & lead) | (old[0] & ~lead & 0xFF)
    updated[-1] = (updated[-1] & tail) | (old[-1] & ~tail & 0xFF)
    states[first:last] = updated
    return bytes(updated) != old


class ObjectMap:
    """The states of an image's data objects."""

    __slots__ = ("count", "states")

    def __init__(self, count: int = 0, states: bytearray | None = None) -> None:
        if not 0 <= count <= OBJECTS_MAX:
            raise UsageError(f"an object map of {count} objects; 0 to {OBJECTS_MAX} are possible")
        self.count = count
        self.states = bytearray(states_length(count)) if states is None else states
        if len(self.states) != states_length(count):
            raise UsageError(f"{len(self.states)} bytes of states for {count} objects")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> int:
        if not 0 <= number < self.count:
            raise IndexError(f"object {number} of {self.count}")
        return self.states[number // OBJECTS_PER_BYTE] >> (6 - number % OBJECTS_PER_BYTE * 2) & 3

    def __setitem__(self, number: int, state: int) -> None:
        if not 0 <= number < self.count:
            raise IndexError(f"object {number} of {self.count}")
        shift = 6 - number % OBJECTS_PER_BYTE * 2
        byte = number // OBJECTS_PER_BYTE
        self.states[byte] = (self.states[byte] & ~(3 << shift) & 0xFF) | (state & 3) << shift

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectMap) and self.count == other.count and self.states == other.states

    __hash__ = None  # type: ignore[assignment]  # it changes

    def update(self, start: int, end: int, new: int, current: int | None = None) -> bool:
        """Set objects [start, end) to `new` where they match `current`. True if any changed. Raises IndexError."""
        if not 0 <= start < end <= self.count:
            raise IndexError(f"objects {start} to {end} of {self.count}")
        return update_states(self.states, start, end, new, current)

    def resize(self, count: int, state: int = ObjectState.NONEXISTENT) -> None:
        """Grow with objects in `state`, or drop the last ones."""
        if not 0 <= count <= OBJECTS_MAX:
            raise UsageError(f"an object map of {count} objects; 0 to {OBJECTS_MAX} are possible")
        old, self.count = self.count, count
        if count > old:
            self.states.extend(bytes(states_length(count) - len(self.states)))
            update_states(self.states, old, count, state)
            return
        del self.states[states_length(count) :]
        spare = count % OBJECTS_PER_BYTE
        if spare:
            self.states[-1] &= 0xFF << (8 - spare * 2) & 0xFF

    def first_not(self, start: int, state: int) -> int | None:
        """The first object from `start` on that is not in `state`; None if there is none."""
        number = start
        whole = state * 0x55
        while number < self.count:
            if number % OBJECTS_PER_BYTE == 0 and self.count - number >= OBJECTS_PER_BYTE:
                rest = bytes(self.states[number // OBJECTS_PER_BYTE : self.count // OBJECTS_PER_BYTE])
                number += (len(rest) - len(rest.lstrip(bytes((whole,))))) * OBJECTS_PER_BYTE
                if number >= self.count:
                    break
            if self[number] != state:
                return number
            number += 1
        return None

    def block(self, number: int) -> bytes:
        """One block of states; the last one may be short."""
        return bytes(self.states[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE])

    def encode(self, encoder: Encoder, *, footer: bool) -> None:
        """Append the map: with the full footer as it is stored, or with an empty one as it is sent."""
        header = header_bytes(self.count)
        encoder.raw(header)
        encoder.raw(self.states)
        if not footer:
            encoder.u32(0)
            return
        crcs = block_crcs(self.states)
        encoder.u32(8 + 4 * len(crcs))
        encoder.u32(ceph_crc32c(0, header[4:]))
        encoder.list(crcs, encoder.u32)

    def to_body(self) -> bytes:
        """The object's body: with crcs."""
        encoder = Encoder()
        self.encode(encoder, footer=True)
        return encoder.bytes()

    def to_reply(self) -> bytes:
        """What object_map_load answers, and object_map_save takes: without crcs."""
        encoder = Encoder()
        self.encode(encoder, footer=False)
        return encoder.bytes()

    @classmethod
    def from_bytes(cls, data: Buffer) -> ObjectMap:
        """Decode either form; crcs that are there are checked. Raises PeerError."""
        decoder = Decoder(data)
        header = decoder.blob()
        count = decode_header(len(header).to_bytes(4, "little") + header)
        states = bytearray(decoder.raw(states_length(count)))
        footer = Decoder(decoder.blob())
        if footer.remaining:
            if footer.u32() != ceph_crc32c(0, header):
                raise PeerError("the crc of an object map's header does not match")
            if footer.list(footer.u32) != block_crcs(states):
                raise PeerError("a crc of an object map's states does not match")
        return cls(count, states)


def block_crcs(states: Buffer) -> list[int]:
    """The crc of each block of states."""
    view = memoryview(states)
    return [ceph_crc32c(0, view[at : at + BLOCK_SIZE]) for at in range(0, len(view), BLOCK_SIZE)]
