"""Where the bytes of an image are: pure striping arithmetic between image offsets and object extents.

With stripe unit su, stripe count sc and objects of 1 << order bytes: unit number o / su goes to the objects of its
set in turn, and a set is full when each of its sc objects is. By default su is the object size and sc is 1, so
that objects simply follow each other.

Source: Ceph documentation, "Data striping"; librbd's limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import ArgumentOutOfRange, InvalidArgument

ORDER_MIN = 12
ORDER_MAX = 25
ORDER_DEFAULT = 22
STRIPE_UNIT_MIN = 512


@dataclass(slots=True)
class ObjectExtent:
    """A range of one object, and which pieces of the caller's buffer it is made of (offset and length in bytes)."""

    object_no: int
    offset: int
    length: int
    buffer_extents: list[tuple[int, int]]

    @property
    def end(self) -> int:
        """First object offset behind the range."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Layout:
    """Striping of an image. `stripe_unit` in bytes; 0 is the object size.

    Raises ArgumentOutOfRange (order) or InvalidArgument (stripe unit or count).
    """

    order: int = ORDER_DEFAULT
    stripe_unit: int = 0
    stripe_count: int = 1
    object_size: int = field(init=False)

    def __post_init__(self) -> None:
        if not ORDER_MIN <= self.order <= ORDER_MAX:
            raise ArgumentOutOfRange(f"order={self.order}: choose {ORDER_MIN} to {ORDER_MAX} (4 KiB to 32 MiB objects)")
        object.__setattr__(self, "object_size", 1 << self.order)
        if self.stripe_unit == 0:
            object.__setattr__(self, "stripe_unit", self.object_size)
        if self.stripe_unit < STRIPE_UNIT_MIN or self.object_size % self.stripe_unit:
            raise InvalidArgument(
                f"stripe_unit={self.stripe_unit}: give at least {STRIPE_UNIT_MIN} bytes, "
                f"and a divisor of the object size {self.object_size}"
            )
        if self.stripe_count < 1:
            raise InvalidArgument(f"stripe_count={self.stripe_count}: give 1 or more")

    @property
    def is_default(self) -> bool:
        """Whether objects simply follow each other."""
        return self.stripe_unit == self.object_size and self.stripe_count == 1

    @property
    def period(self) -> int:
        """Bytes of one set of objects: the image is made of whole sets."""
        return self.stripe_count * self.object_size

    def object_count(self, size: int) -> int:
        """Number of objects that an image of `size` bytes may have."""
        period, unit = self.period, self.stripe_unit
        count = -(-size // period) * self.stripe_count
        rest = size % period
        if 0 < rest < self.stripe_count * unit:
            count -= self.stripe_count - -(-rest // unit)
        return count

    def locate(self, offset: int) -> tuple[int, int]:
        """Object number and offset in it of one image offset."""
        unit = self.stripe_unit
        block, in_unit = divmod(offset, unit)
        stripe, position = divmod(block, self.stripe_count)
        object_set, stripe_in_object = divmod(stripe, self.object_size // unit)
        return object_set * self.stripe_count + position, stripe_in_object * unit + in_unit

    def image_offset(self, object_no: int, offset: int) -> int:
        """The image offset of a byte of an object: the inverse of `locate`."""
        unit = self.stripe_unit
        object_set, position = divmod(object_no, self.stripe_count)
        stripe_in_object, in_unit = divmod(offset, unit)
        stripe = object_set * (self.object_size // unit) + stripe_in_object
        return (stripe * self.stripe_count + position) * unit + in_unit

    def units(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Object number, object offset and length of the consecutive pieces of an image range."""
        while length > 0:
            number, at = self.locate(offset)
            piece = min(self.stripe_unit - offset % self.stripe_unit, length)
            yield number, at, piece
            offset += piece
            length -= piece

    def extents(self, offset: int, length: int) -> list[ObjectExtent]:
        """The object extents of an image range, ordered by their first byte. Pieces that join up are one extent."""
        if self.is_default:
            return self._extents_of_whole_objects(offset, length)
        found: list[ObjectExtent] = []
        newest: dict[int, ObjectExtent] = {}
        position = 0
        for number, at, piece in self.units(offset, length):
            extent = newest.get(number)
            if extent is not None and extent.end == at:
                extent.length += piece
                extent.buffer_extents.append((position, piece))
            else:
                newest[number] = extent = ObjectExtent(number, at, piece, [(position, piece)])
                found.append(extent)
            position += piece
        return found

    def _extents_of_whole_objects(self, offset: int, length: int) -> list[ObjectExtent]:
        found = []
        position = 0
        while position < length:
            number, at = offset >> self.order, offset & (self.object_size - 1)
            piece = min(self.object_size - at, length - position)
            found.append(ObjectExtent(number, at, piece, [(position, piece)]))
            offset += piece
            position += piece
        return found
