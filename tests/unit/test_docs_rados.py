"""The table of calls in docs/rados.md: every name of Cove in it exists, and every public method is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cove.rados
from cove.messenger import Dispatcher

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "rados.md").read_text()
ROWS = [line.split(" | ")[-1] for line in TEXT[TEXT.index("## Every librados call") :].splitlines() if line[:1] == "|"]
EXTRA = TEXT[TEXT.index("### Only in Cove") :]
NAMED = sorted(set(re.findall(r"`([A-Z]\w+(?:\.\w+)?)", "\n".join(ROWS) + EXTRA)) - {"Cove"})

INTERNAL = {
    "complete_aio_write",  # the completion tells its context
    "take_ops",  # the context takes the steps
    "is_write",
    "name",  # what an error calls the vector
    "pool_op",  # what snapshots and pools are made of
    "log_watch",
    "service_daemon",
    "filenos",  # the synchronous facade, after a fork
    *dir(Dispatcher),
}
"""Public in the code, for its other modules; not for users."""


def test_the_table_was_found() -> None:
    assert len(ROWS) > 100
    assert len(NAMED) > 100


@pytest.mark.parametrize("name", NAMED)
def test_a_name_in_the_table_exists(name: str) -> None:
    found: object = cove.rados
    for part in name.split("."):
        if part in getattr(found, "__annotations__", {}) or part in getattr(found, "__slots__", ()):
            return  # an attribute
        found = getattr(found, part)


@pytest.mark.parametrize("cls", [cove.rados.Rados, cove.rados.IoCtx, cove.rados.WriteOp, cove.rados.ReadOp])
def test_every_public_method_is_in_the_table(cls: type) -> None:
    public = {name for name in dir(cls) if name[0] != "_" and name not in INTERNAL}
    slots = {slot for base in cls.__mro__ for slot in getattr(base, "__slots__", ())}
    missing = sorted(name for name in public - slots if f"{cls.__name__}.{name}" not in NAMED)
    assert missing == []
