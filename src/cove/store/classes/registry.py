"""The registry of class methods: `@cls_method(signature)` above a function makes it callable by clients.

A signature (`cove.wire.structure.ClassMethod`) names class and method, says how input and output are encoded, and
whether the method writes. A method gets the decoded input, returns the output, and raises `OpError`.

Source: Ceph's objclass API (objclass.h).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ...wire.errors import PeerError
from ...wire.structure import ClassMethod
from ..errors import OpError

if TYPE_CHECKING:
    from .context import ClassContext

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


@dataclass(frozen=True, slots=True)
class Method:
    """A registered method."""

    signature: ClassMethod[Any, Any]
    function: Callable[[ClassContext, Any], Any]
    reads: bool
    writes: bool

    def run(self, context: ClassContext, data: bytes) -> bytes:
        """Decode, call, encode. Raises OpError; EINVAL when the input does not decode."""
        try:
            value = self.signature.input.unpack(data)
        except PeerError:
            raise OpError(errno.EINVAL) from None
        return self.signature.output.pack(self.function(context, value))


_METHODS: dict[tuple[str, str], Method] = {}


def cls_method(
    signature: ClassMethod[I, O], *, reads: bool = True
) -> Callable[[Callable[[ClassContext, I], O]], Callable[[ClassContext, I], O]]:
    """Register a function as a class method. A method that writes may read too, unless `reads` is False."""

    def register(function: Callable[[ClassContext, I], O]) -> Callable[[ClassContext, I], O]:
        key = (signature.cls, signature.name)
        if key in _METHODS:
            raise ValueError(f"class method {signature.cls}.{signature.name} is registered twice")
        _METHODS[key] = Method(signature, function, reads, signature.writes)
        return function

    return register


def find_method(cls: str, name: str) -> Method | None:
    """The method of that name; None if the class or the method is unknown."""
    return _METHODS.get((cls, name))


def methods() -> list[str]:
    """All methods as `class.method`, sorted."""
    return sorted(f"{cls}.{name}" for cls, name in _METHODS)
