"""What all messages share: `Message`, the header that precedes one, and the parts that make up an encoded one.

A message travels as four segments: header, front (its fields), middle (unused here) and data (payload without a
length of its own). Each class of this package knows the layout of its front; `wire.message_codec` turns objects into
parts and back, and the link (`wire.link`) adds what belongs to the connection: sequence numbers and acknowledgements.

Source: Ceph's msg/Message.h, include/msgr.h (`ceph_msg_header2`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from ..encoding import Buffer, Decoder, Encoder
from ..structure import STR, U16, U64, Codec, list_of, map_of

PRIO_LOW = 64
PRIO_OSD_OP = 63
PRIO_DEFAULT = 127
PRIO_HIGH = 196


class MessageHeader(NamedTuple):
    """Segment 1. `version` is the layout of the front, `compat_version` the oldest decoder that copes with it."""

    seq: int = 0
    tid: int = 0
    type: int = 0
    priority: int = PRIO_DEFAULT
    version: int = 1
    data_off: int = 0
    ack_seq: int = 0
    flags: int = 0
    compat_version: int = 1


class MessageParts(NamedTuple):
    """An encoded message before a connection numbers it. `data` are the pieces of segment 4, not joined."""

    type: int
    tid: int
    priority: int
    version: int
    compat_version: int
    data_off: int
    front: Buffer
    middle: Buffer
    data: Sequence[Buffer]


class Field(NamedTuple):
    """One entry of a front's layout: the attribute (empty: a filler), its encoding, and the first version that has it.

    A field of a version that a sender does not reach yet keeps its default.
    """

    name: str
    codec: Codec[Any]
    since: int = 1


def filler(codec: Codec[Any], value: Any, since: int = 1) -> Field:
    """Something that once had a meaning: written as `value`, not looked at when read."""
    return Field("", Codec(lambda encoder, _: codec.encode(encoder, value), codec.decode), since)


STRINGS = list_of(STR)
STR_TO_STR = map_of(STR, STR)

PAXOS = (Field("version", U64), filler(U16, 0xFFFF), filler(U64, 0))
"""How many of the monitors' messages begin: the map's version, and two fields of daemons among themselves."""


@dataclass(slots=True, kw_only=True)
class Message:
    """One message. `tid` ties a reply to its request; 0 where there is none.

    Subclasses give their layout as a table, `FRONT`, and name the field that is the data segment, `DATA`; those with
    layouts that are no table override `encode_front` and `decode_front`, those that must be fast `to_parts` and
    `from_parts`.
    """

    TYPE: ClassVar[int] = 0
    HEAD_VERSION: ClassVar[int] = 1
    """The newest layout known. An encoder writes it, if the peer's features do not ask for an older one."""
    COMPAT_VERSION: ClassVar[int] = 1
    """The oldest decoder that copes with what is written."""
    OLDEST_VERSION: ClassVar[int] = 1
    """The oldest layout that is still read; what is older was last sent by releases before 16."""
    PRIORITY: ClassVar[int] = PRIO_DEFAULT
    FRONT: ClassVar[tuple[Field, ...]] = ()
    DATA: ClassVar[str] = ""

    tid: int = 0

    def to_parts(self, features: int) -> MessageParts:
        """Encode for a peer with these feature bits. Raises UsageError if a field does not fit."""
        encoder = Encoder()
        self.encode_front(encoder)
        data = getattr(self, self.DATA) if self.DATA else b""
        return MessageParts(
            self.TYPE,
            self.tid,
            self.priority(),
            self.HEAD_VERSION,
            self.COMPAT_VERSION,
            0,
            encoder.bytes(),
            b"",
            (data,) if len(data) else (),
        )

    @classmethod
    def from_parts(cls, header: MessageHeader, front: Buffer, data: Buffer) -> Self:
        """Decode; the type and the versions have been checked. Raises PeerError."""
        values = cls.decode_front(Decoder(front), header.version)
        if cls.DATA:
            values[cls.DATA] = bytes(data)
        return cls(tid=header.tid, **values)

    def encode_front(self, encoder: Encoder) -> None:
        """Append the fields."""
        for name, codec, _ in self.FRONT:
            codec.encode(encoder, getattr(self, name) if name else None)

    @classmethod
    def decode_front(cls, decoder: Decoder, version: int) -> dict[str, Any]:
        """The fields of layout `version` by name. What follows them is of layouts to come, and left alone."""
        values = {}
        for name, codec, since in cls.FRONT:
            if version >= since:
                values[name] = codec.decode(decoder)
        values.pop("", None)
        return values

    def priority(self) -> int:
        """What it is sent with: higher ones may overtake lower ones, equal ones stay in order."""
        return self.PRIORITY
