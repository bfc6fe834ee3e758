from __future__ import annotations

import time

import pytest

from cove.cli.waiting import wait_for
from cove.errors import CoveError


def test_what_is_there_is_given_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: pytest.fail("nothing to wait for"))
    assert wait_for(lambda: 0, 1.0, "never") == 0


def test_it_looks_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    looks = iter([None, None, "there"])
    assert wait_for(lambda: next(looks), 60.0, "never") == "there"


def test_it_gives_up_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    with pytest.raises(CoveError, match="vm1 still runs after 3 s"):
        wait_for(lambda: None, 3.0, "vm1 still runs after 3 s")
