"""Running a CRUSH rule: seed → devices.

    do_rule ── take → [bucket] ── choose firstn │ indep (one bucket after the other) ── … ── emit → result

`firstn` fills a list and leaves nothing open: an item that can't be used is replaced by the next attempt's, and all
behind it move up. `indep` fills positions: a position without an item stays a hole (ITEM_NONE) and moves nobody.
Both go down from a bucket until they meet an item of the wanted type; `chooseleaf` goes on from there to a device.

Whatever the map holds, a run ends: see `run`. Ids that lead nowhere make a list shorter and leave a hole in positions.

Source: Ceph's crush/mapper.c (crush_do_rule, crush_choose_firstn, crush_choose_indep).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .choosers import Chooser
from .map import ITEM_NONE, ITEM_UNDEF, CrushMap, Op, RuleStep, RuleType, Tunables
from .msr import do_msr_rule
from .run import WORK_MAX, Run


def do_rule(
    crush: CrushMap,
    rule: int,
    x: int,
    result_max: int,
    weights: Sequence[int],
    pool: int = -1,
    *,
    work_max: int = WORK_MAX,
) -> list[int]:
    """The devices that a rule gives to a seed: at most `result_max`, fewer or ITEM_NONE where there are not enough.

    `weights` is how far each OSD is in (16.16, by number; those beyond it are out), `pool` selects the weight set.
    A rule that does not exist gives nothing. Raises PeerError for a map that takes more than `work_max`.
    """
    found = crush.rule(rule)
    if found is None or result_max <= 0:
        return []
    run = Run(crush, x, result_max, weights, pool, work_max)
    if found.type in (RuleType.MSR_FIRSTN, RuleType.MSR_INDEP):
        return do_msr_rule(run, crush.tunables, found)
    return _Classic(run, crush.tunables).steps(found.steps)


class _Classic:
    """The settings of one run of an ordinary rule; its steps change them."""

    __slots__ = (
        "descend_once",
        "leaf",
        "leaf_tries",
        "local_fallback_tries",
        "local_tries",
        "run",
        "stable",
        "tries",
        "vary_r",
    )

    def __init__(self, run: Run, tunables: Tunables) -> None:
        self.run = run
        self.tries = tunables.choose_total_tries + 1  # the tunable once counted *re*tries, and still does
        self.leaf_tries = 0
        self.local_tries = tunables.choose_local_tries
        self.local_fallback_tries = tunables.choose_local_fallback_tries
        self.vary_r = tunables.chooseleaf_vary_r
        self.stable = tunables.chooseleaf_stable
        self.descend_once = tunables.chooseleaf_descend_once
        self.leaf = ITEM_NONE  # the device below the bucket chosen last

    def steps(self, steps: Sequence[RuleStep]) -> list[int]:
        """Run all steps."""
        run = self.run
        working: list[int] = []
        result: list[int] = []
        for op, arg1, arg2 in steps:
            if op == Op.TAKE:
                if 0 <= arg1 < run.max_devices or run.choosers[arg1] is not None:
                    working = [arg1]
            elif op == Op.EMIT:
                result += working[: run.result_max - len(result)]
                working = []
            elif op in _CHOOSES:
                firstn, to_leaf = _CHOOSES[op]
                if working:
                    working = self._choose_step(working, arg1, arg2, firstn, to_leaf)
            elif op in _SETTINGS:
                name, least = _SETTINGS[op]
                if arg1 >= least:
                    setattr(self, name, arg1)
        return result

    def _choose_step(self, working: list[int], count: int, kind: int, firstn: bool, to_leaf: bool) -> list[int]:
        """Replace each bucket by items of type `kind` below it, or the devices below those."""
        run = self.run
        if count <= 0:
            count += run.result_max
            if count <= 0:
                return []
        chosen: list[int] = []
        for number in working:
            room = run.result_max - len(chosen)
            bucket = run.choosers[number]
            if bucket is None:
                continue
            # each bucket's choices are on their own: collisions are not looked for beyond them
            if firstn:
                chosen += self._firstn(bucket, count, kind, room, to_leaf)
            elif room > 0:
                chosen += self._indep(bucket, min(count, room), count, kind, to_leaf)
        return chosen

    # firstn

    def _firstn(self, bucket: Chooser, count: int, kind: int, room: int, to_leaf: bool) -> list[int]:
        items: list[int] = []
        leaves: list[int] | None = [] if to_leaf else None
        for replica in range(count):
            if room <= 0:
                break
            item = self._first(bucket, replica, kind, items, len(items), self.tries, leaves)
            if item != ITEM_NONE:
                items.append(item)
                if leaves is not None:
                    leaves.append(self.leaf)
                room -= 1
        return items if leaves is None else leaves

    def _first(
        self, top: Chooser, rank: int, kind: int, taken: list[int], position: int, tries: int, leaves: list[int] | None
    ) -> int:
        """One item below `top` that is not taken yet; ITEM_NONE after too many attempts or at a dead end."""
        run = self.run
        choosers, max_devices, x = run.choosers, run.max_devices, run.x
        fallback = self.local_fallback_tries
        failures = 0
        local_failures = 0
        bucket = top
        while True:
            size = bucket.size
            run.spend(size)
            collides = False
            usable = False
            if size:
                if fallback > 0 and local_failures >= size >> 1 and local_failures > fallback:
                    item = bucket.permuted(x, rank + failures)
                else:
                    item = bucket.choose(x, rank + failures, position)
                if item >= max_devices:
                    return ITEM_NONE
                below = choosers[item] if item < 0 else None
                if below is None:
                    if item < 0 or kind:
                        return ITEM_NONE
                elif below.type != kind:
                    bucket = below
                    continue
                collides = item in taken
                if not collides:
                    if below is None:
                        self.leaf = item
                        usable = not run.is_out(item)
                    else:
                        usable = leaves is None or self._find_leaf(below, rank + failures, leaves)
            if usable:
                return item
            failures += 1
            local_failures += 1
            if collides and local_failures <= self.local_tries:
                continue
            if fallback > 0 and local_failures <= size + fallback:
                continue
            if failures >= tries:
                return ITEM_NONE
            bucket = top
            local_failures = 0

    def _find_leaf(self, bucket: Chooser, r: int, leaves: list[int]) -> bool:
        """A device below a bucket that has just been chosen, into `self.leaf`."""
        tries = self.leaf_tries or (1 if self.descend_once else self.tries)
        rank = r >> self.vary_r - 1 if self.vary_r > 0 else 0
        if not self.stable:
            rank += len(leaves)
        return self._first(bucket, rank, 0, leaves, len(leaves), tries, None) != ITEM_NONE

    # indep

    def _indep(self, top: Chooser, slots: int, count: int, kind: int, to_leaf: bool) -> list[int]:
        run = self.run
        choosers, max_devices, x = run.choosers, run.max_devices, run.x
        items = [ITEM_UNDEF] * slots
        leaves = [ITEM_UNDEF] * slots if to_leaf else items
        for attempt in range(self.tries):
            if ITEM_UNDEF not in items:
                break
            for position in range(slots):
                if items[position] != ITEM_UNDEF:
                    continue
                bucket = top
                while True:
                    run.spend(bucket.size)
                    if not bucket.size:
                        break
                    r = position + _stride(bucket, count) * attempt
                    item = bucket.choose(x, r, 0)
                    below = choosers[item] if item < 0 else None
                    if item >= max_devices or (below is None and (item < 0 or kind)):
                        items[position] = leaves[position] = ITEM_NONE
                        break
                    if below is not None and below.type != kind:
                        bucket = below
                        continue
                    if item in items:
                        break
                    if below is None:
                        if run.is_out(item):
                            break
                        leaves[position] = item
                    elif to_leaf:
                        leaf = self._indep_leaf(below, position, count, r)
                        if leaf == ITEM_NONE:
                            break
                        leaves[position] = leaf
                    items[position] = item
                    break
        return [ITEM_NONE if items[at] == ITEM_UNDEF else leaves[at] for at in range(slots)]

    def _indep_leaf(self, top: Chooser, position: int, count: int, parent_r: int) -> int:
        """A device below a bucket that has just been chosen, ITEM_NONE if none is found."""
        run = self.run
        for attempt in range(self.leaf_tries or 1):
            bucket = top
            while True:
                run.spend(bucket.size)
                if not bucket.size:
                    break
                item = bucket.choose(run.x, position + parent_r + _stride(bucket, count) * attempt, position)
                if item >= run.max_devices:
                    return ITEM_NONE
                if item >= 0:
                    if run.is_out(item):
                        break
                    return item
                below = run.choosers[item]
                if below is None:
                    return ITEM_NONE
                bucket = below
        return ITEM_NONE


def _stride(bucket: Chooser, count: int) -> int:
    """How far r moves between attempts: a uniform bucket would otherwise repeat itself."""
    return count + 1 if bucket.is_uniform and bucket.size % count == 0 else count


_CHOOSES: Final[dict[int, tuple[bool, bool]]] = {
    Op.CHOOSE_FIRSTN: (True, False),
    Op.CHOOSELEAF_FIRSTN: (True, True),
    Op.CHOOSE_INDEP: (False, False),
    Op.CHOOSELEAF_INDEP: (False, True),
}
"""Operation → whether it fills a list without holes, whether it goes on to devices."""

_SETTINGS: Final[dict[int, tuple[str, int]]] = {
    Op.SET_CHOOSE_TRIES: ("tries", 1),
    Op.SET_CHOOSELEAF_TRIES: ("leaf_tries", 1),
    Op.SET_CHOOSE_LOCAL_TRIES: ("local_tries", 0),
    Op.SET_CHOOSE_LOCAL_FALLBACK_TRIES: ("local_fallback_tries", 0),
    Op.SET_CHOOSELEAF_VARY_R: ("vary_r", 0),
    Op.SET_CHOOSELEAF_STABLE: ("stable", 0),
}
"""Operation → the setting it changes for the rest of the rule, and the least value that it takes."""
