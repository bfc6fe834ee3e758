"""Tables kept in force: whatever is not known to have happened is made anew, and somebody's flush is found."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from cove.compute import nft


@dataclass
class World:
    """What nft was asked for, and what becomes of it."""

    applied: list[list[str]] = field(default_factory=list)
    refuse: int = 0
    hang: bool = False
    shown: dict[str, list[object]] = field(default_factory=dict)

    async def apply(self, lines: Sequence[str], *, namespace: str | None = None) -> None:
        self.applied.append(list(lines))
        if self.hang:
            await asyncio.sleep(60)
        if self.refuse:
            self.refuse -= 1
            raise nft.NftError("refused")

    async def show(self, arguments: Sequence[str], *, namespace: str | None = None) -> bytes:
        name = " ".join(arguments[1:])
        if name not in self.shown:
            raise nft.NftError("no such thing")
        kind = arguments[1]
        return json.dumps({"nftables": [{"metainfo": {}}, {kind: {"elem": self.shown[name]}}]}).encode()


WHOLE = ["everything"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(nft, "apply", made.apply)
    monkeypatch.setattr(nft, "show", made.show)
    return made


def whole() -> list[str]:
    return WHOLE


async def test_changes_follow_the_whole(world: World) -> None:
    kept = nft.Kept()
    await kept.change(["a"], whole)
    await kept.change(["b"], whole)
    await kept.change([], whole)
    assert world.applied == [WHOLE, ["b"]]
    kept.doubt()
    await kept.change([], whole)
    assert world.applied[2:] == [WHOLE]


async def test_what_is_refused_is_made_as_a_whole(world: World) -> None:
    kept = nft.Kept()
    await kept.put(WHOLE)
    world.refuse = 1
    await kept.change(["a"], whole)
    assert world.applied[1:] == [["a"], WHOLE]
    world.refuse = 2
    with pytest.raises(nft.NftError):
        await kept.change(["b"], whole)
    await kept.change(["c"], whole)
    assert world.applied[3:] == [["b"], WHOLE, WHOLE]


async def test_a_change_that_was_cancelled_may_have_happened_or_not(world: World) -> None:
    kept = nft.Kept()
    await kept.put(WHOLE)
    world.hang = True
    task = asyncio.create_task(kept.change(["a"], whole))
    while len(world.applied) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    world.hang = False
    await kept.change(["b"], whole)
    assert world.applied[2:] == [WHOLE]


@pytest.mark.parametrize(
    ("shown", "fine"),
    [
        ({"map bridge t m": [["tap0", {}]], "set inet t s": ["br0"]}, True),
        ({"map bridge t m": [["tap0", {}], ["tap1", {}]], "set inet t s": ["br0"]}, False),
        ({"map bridge t m": [["tap0", {}]], "set inet t s": []}, False),
        ({"map bridge t m": [["tap0", {}]]}, False),
        ({}, False),
    ],
)
async def test_what_somebody_took_away_is_made_anew(world: World, shown: dict[str, list[object]], fine: bool) -> None:
    kept = nft.Kept()
    await kept.put(WHOLE)
    world.shown = shown
    assert await kept.check({"map bridge t m": {"tap0"}, "set inet t s": {"br0"}}, whole) is fine
    assert world.applied[1:] == ([] if fine else [WHOLE])


async def test_nft_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "NFT", "sleep")
    monkeypatch.setattr(nft, "TIMEOUT_S", 0.05)
    with pytest.raises(nft.NftError, match="no end after"):
        await nft._run(["60"], None, ())
    monkeypatch.setattr(nft, "NFT", "there-is-no-such-program")
    with pytest.raises(nft.NftError, match="apt-get install nftables"):
        await nft.apply(["add table bridge t"])
