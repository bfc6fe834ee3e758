"""How the tests of `cove rados` run a command: see the fixture `run`."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

Run = Callable[..., Result]
PIECE = 1 << 16
"""Bytes that `put` and `get` move at a time, in these tests."""
