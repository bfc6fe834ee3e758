"""Encodings as values: a `Codec` for each type, structures declared as tables of fields, and class methods as pairs.

The object classes (`cls_rbd`, `cls_lock`) are declared with these once; the store decodes inputs and encodes outputs
with the same tables with which clients do the reverse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from .encoding import Buffer, Decoder, Encoder

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
I = TypeVar("I")  # noqa: E741 - I for input, O for output
O = TypeVar("O")  # noqa: E741


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How values of one type are written and read."""

    encode: Callable[[Encoder, T], None]
    decode: Callable[[Decoder], T]

    def pack(self, value: T) -> bytes:
        """The value's bytes. Raises UsageError if it does not fit."""
        encoder = Encoder()
        self.encode(encoder, value)
        return encoder.bytes()

    def unpack(self, data: Buffer) -> T:
        """The value at the start of `data`; further bytes are ignored. Raises PeerError."""
        return self.decode(Decoder(data))


NOTHING: Codec[None] = Codec(lambda _encoder, _value: None, lambda _decoder: None)
U8: Codec[int] = Codec(Encoder.u8, Decoder.u8)
U16: Codec[int] = Codec(Encoder.u16, Decoder.u16)
U32: Codec[int] = Codec(Encoder.u32, Decoder.u32)
U64: Codec[int] = Codec(Encoder.u64, Decoder.u64)
I32: Codec[int] = Codec(Encoder.i32, Decoder.i32)
I64: Codec[int] = Codec(Encoder.i64, Decoder.i64)
BOOL: Codec[bool] = Codec(Encoder.bool, Decoder.bool)
STR: Codec[str] = Codec(Encoder.str, Decoder.str)
BLOB: Codec[bytes] = Codec(Encoder.blob, Decoder.blob)
UTIME: Codec[int] = Codec(Encoder.utime, Decoder.utime)
"""Nanoseconds since the epoch."""
RAW: Codec[bytes] = Codec(Encoder.raw, Decoder.rest)
"""Bytes to the end, without a length."""


def list_of(item: Codec[T]) -> Codec[list[T]]:
    """u32 count and the items."""
    return Codec(
        lambda encoder, items: encoder.list(items, lambda value: item.encode(encoder, value)),
        lambda decoder: decoder.list(lambda: item.decode(decoder)),
    )


def map_of(key: Codec[K], value: Codec[V]) -> Codec[dict[K, V]]:
    """u32 count, then keys and values in ascending order of the keys."""
    return Codec(
        lambda encoder, items: encoder.map(items, lambda k: key.encode(encoder, k), lambda v: value.encode(encoder, v)),
        lambda decoder: decoder.map(lambda: key.decode(decoder), lambda: value.decode(decoder)),
    )


def optional(item: Codec[T]) -> Codec[T | None]:
    """u8 present flag and, if set, the item."""
    return Codec(
        lambda encoder, value: encoder.optional(value, lambda v: item.encode(encoder, v)),
        lambda decoder: decoder.optional(lambda: item.decode(decoder)),
    )


def trailing(item: Codec[T], default: T) -> Codec[T]:
    """A last field that older senders leave out: it is always written, and `default` where it is missing."""
    return Codec(item.encode, lambda decoder: item.decode(decoder) if decoder.remaining else default)


class Structure:
    """A structure declared by `FIELDS` (name, codec) and, if it is a versioned one, `FRAME` (version, compat).

    Subclasses are dataclasses with the same field names. Versions below the present one are handled by the
    structures that have changed since, in a `decode` of their own.
    """

    __slots__ = ()
    FRAME: ClassVar[tuple[int, int] | None] = None
    FIELDS: ClassVar[tuple[tuple[str, Codec[Any]], ...]] = ()

    def encode(self, encoder: Encoder) -> None:
        """Append the structure."""
        if self.FRAME is None:
            self.encode_fields(encoder)
            return
        with encoder.versioned(*self.FRAME):
            self.encode_fields(encoder)

    def encode_fields(self, encoder: Encoder) -> None:
        """Append the fields without the frame."""
        for name, codec in self.FIELDS:
            codec.encode(encoder, getattr(self, name))

    @classmethod
    def decode(cls, decoder: Decoder) -> Self:
        """Read the structure. Raises PeerError."""
        if cls.FRAME is None:
            return cls.decode_fields(decoder)
        with decoder.versioned(cls.FRAME[0]):
            return cls.decode_fields(decoder)

    @classmethod
    def decode_fields(cls, decoder: Decoder) -> Self:
        """Read the fields without the frame."""
        return cls(**{name: codec.decode(decoder) for name, codec in cls.FIELDS})

    def to_bytes(self) -> bytes:
        """The encoded structure."""
        encoder = Encoder()
        self.encode(encoder)
        return encoder.bytes()

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """The structure at the start of `data`. Raises PeerError."""
        return cls.decode(Decoder(data))

    @classmethod
    def codec(cls) -> Codec[Self]:
        """This structure as a codec."""
        return Codec(lambda encoder, value: value.encode(encoder), cls.decode)


@dataclass(frozen=True, slots=True)
class ClassMethod(Generic[I, O]):
    """The signature of a method of an object class: both ends encode and decode by it."""

    cls: str
    name: str
    input: Codec[I]
    output: Codec[O]
    writes: bool = False
    """Whether it may change the object; those that may also read it."""
