"""Checks of arguments, with the exceptions and texts that callers of Ceph's module know; and its public helpers.

Source: Ceph's pybind/rados; Cython's conversions of arguments (texts of TypeError and OverflowError).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from itertools import chain
from typing import Any

UINT64_MAX = 2**64 - 1


def wrong_type(name: str, value: object, expected: str) -> TypeError:
    """What a call with an argument of the wrong type raises."""
    if value is None and expected == "str":
        return TypeError(f"{name} must be a string")
    return TypeError(f"Argument '{name}' has incorrect type (expected {expected}, got {type(value).__name__})")


def check(name: str, value: object, cls: type) -> None:
    """Raises TypeError unless `value` is a `cls`."""
    if not isinstance(value, cls):
        raise wrong_type(name, value, cls.__name__)


def check_str(**named: object) -> None:
    """Raises TypeError for the first that is no str."""
    for name, value in named.items():
        if not isinstance(value, str):
            raise wrong_type(name, value, "str")


def check_write(key: object, data: object) -> None:
    """Raises TypeError unless `key` is text, and `data` bytes (of no subclass)."""
    if not isinstance(key, str):
        raise wrong_type("key", key, "str")
    if type(data) is not bytes:
        raise wrong_type("data", data, "bytes")


def integer(value: Any) -> int:
    """A number, cut if it has a fraction. Raises TypeError."""
    if type(value) is int:
        return value
    if isinstance(value, (str, bytes)) or not hasattr(value, "__int__"):
        raise TypeError("an integer is required")
    return int(value)


def unsigned(value: Any, kind: str = "uint64_t") -> int:
    """A number from 0 to 2^64 - 1. Raises TypeError, OverflowError."""
    number = value if type(value) is int else integer(value)
    if number < 0:
        raise OverflowError(f"can't convert negative value to {kind}")
    if number > UINT64_MAX:
        raise OverflowError("Python int too large to convert to C unsigned long")
    return number


# what Ceph's module offers to its users as well


def cstr(val: Any, name: str, encoding: str = "utf-8", opt: bool = False) -> bytes | None:
    """Text as bytes; bytes stay, and None if `opt`. Raises TypeError."""
    if opt and val is None:
        return None
    if isinstance(val, bytes):
        return val
    try:
        encoded: bytes = val.encode(encoding)
    except AttributeError:
        raise TypeError(f"{name} must be a string") from None
    return encoded


def cstr_list(list_str: Iterable[Any], name: str, encoding: str = "utf-8") -> list[bytes | None]:
    """`cstr` of each."""
    return [cstr(item, name) for item in list_str]


def decode_cstr(val: bytes | None, encoding: str = "utf-8") -> str | None:
    """Bytes as text; None stays."""
    return None if val is None else val.decode(encoding)


def flatten_dict(d: Mapping[str, str], name: str) -> bytes | None:
    """Keys and values in turn, each with a zero byte behind it."""
    return cstr("".join(f"{part}\0" for part in chain.from_iterable(d.items())), name)


def opt(cls: type) -> tuple[type, None]:
    """For `requires`: None is allowed, too."""
    return (cls, None)


def requires(*types: tuple[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of methods: pairs of an argument's name and its type (or `opt` of it). Wrong ones are TypeErrors."""

    def verify(value: object, name: str, wanted: Any) -> None:
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        if any(value is None if cls is None else isinstance(value, cls) for cls in allowed):
            return
        raise TypeError(f"{name} must be {' or '.join('None' if cls is None else cls.__name__ for cls in allowed)}")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for value, (name, wanted) in zip(args[1:], types, strict=False):
                verify(value, name, wanted)
            for name, wanted in types:
                if name in kwargs:
                    verify(kwargs[name], name, wanted)
            return function(*args, **kwargs)

        return checked

    return decorate
