"""The fuzz targets of frames, handshake and maps with fixed inputs: seeds, cut short and with single bytes changed."""

from __future__ import annotations

import random
from types import ModuleType

import pytest

from cove.wire.handshake import State
from cove.wire.link import Link
from tests.fuzz import fuzz_frames, fuzz_handshake, fuzz_maps


@pytest.mark.parametrize(
    "target", [fuzz_frames, fuzz_handshake, fuzz_maps], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_fixed_inputs(target: ModuleType) -> None:
    chance = random.Random(1)
    for seed in target.seeds():
        target.one_input(seed)
        for _ in range(40):
            cut = seed[: chance.randrange(len(seed) + 1)]
            target.one_input(cut)
            if cut:
                changed = bytearray(cut)
                changed[chance.randrange(len(changed))] = chance.randrange(256)
                target.one_input(bytes(changed))


def test_seeds_of_the_handshake_get_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the fuzzer would never see what comes after."""
    links: list[Link] = []
    under_test = fuzz_handshake.under_test

    def remember(flags: int) -> Link:
        links.append(under_test(flags))
        return links[-1]

    monkeypatch.setattr(fuzz_handshake, "under_test", remember)
    for seed in fuzz_handshake.seeds():
        fuzz_handshake.one_input(seed)
    assert [link.state for link in links].count(State.READY) >= 5
