"""What the compiler of the hot modules (mypyc, see setup.py) has to be told in their source; nothing at run time.

A compiled class can only be subclassed by modules that are compiled with it, unless it says otherwise.

Source: mypyc's documentation, "Native classes".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

__all__ = ["mypyc_attr"]

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:
    T = TypeVar("T")

    def mypyc_attr(**_attributes: bool) -> Callable[[T], T]:
        """Leave the class as it is."""
        return lambda cls: cls
