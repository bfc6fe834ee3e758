"""What the store raises: to its owner (`StoreError`), and inside it, to end one operation (`OpError`)."""

from __future__ import annotations

import errno
import os

from ..errors import CoveError


class StoreError(CoveError):
    """The store can't be opened or used."""


class OpError(Exception):
    """Ends an operation with a negative errno, which becomes its result."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = -abs(code)

    def __str__(self) -> str:
        return f"{errno.errorcode.get(-self.code, self.code)} ({os.strerror(-self.code)})"
