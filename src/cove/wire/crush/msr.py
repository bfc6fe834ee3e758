"""Running a multi-step retry (MSR) rule, which erasure pools may have since Squid.

An ordinary rule that chooses racks first and then two hosts in each can't leave a rack again in which there are not
two good hosts. An MSR rule goes down all its steps for every position, and where a device is out begins again at the
root: so it looks at every step for what the positions of other strides hold already.

A block is `take root, choosemsr …, choosemsr …, emit`. With steps of 3 racks and 2 hosts, the block's six positions
are 3 strides of 2 at the first step, and 2 strides of 1 in each of those at the second.

Source: Ceph's crush/mapper.c (crush_msr_do_rule, crush_msr_choose), doc/dev/crush-msr.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .choosers import Chooser
from .map import DEPTH_MAX, ITEM_NONE, ITEM_UNDEF, Op, Rule, RuleStep, RuleType, Tunables
from .run import Run

_MASK = 0xFFFFFFFF


class _Block(NamedTuple):
    """One way from a root: (count, type) of each step."""

    root: Chooser
    steps: tuple[tuple[int, int], ...]


def do_msr_rule(run: Run, tunables: Tunables, rule: Rule) -> list[int]:
    """The devices that the rule gives. A rule of another form than this module's text says gives none."""
    descents, collision_tries = tunables.msr_descents, tunables.msr_collision_tries
    at = 0
    for op, arg1, _ in rule.steps:
        if op == Op.SET_MSR_DESCENTS:
            descents = arg1
        elif op == Op.SET_MSR_COLLISION_TRIES:
            collision_tries = arg1
        else:
            break
        at += 1
    blocks = _blocks(run, rule.steps[at:])
    if blocks is None:
        return []
    mapping = _Mapping(run, rule.type == RuleType.MSR_FIRSTN, collision_tries)
    start = 0
    for block in blocks:
        start = mapping.block(block, start, descents)
    return mapping.out[: mapping.returned] if mapping.firstn else mapping.out


def _blocks(run: Run, steps: Sequence[RuleStep]) -> list[_Block] | None:
    """The rule cut into blocks, None if it has another form."""
    blocks: list[_Block] = []
    root: Chooser | None = None
    choices: list[tuple[int, int]] = []
    for op, arg1, arg2 in steps:
        if root is None:
            root = run.choosers[arg1] if op == Op.TAKE else None
            if root is None:
                return None
        elif op == Op.CHOOSE_MSR and arg1 >= 0:
            choices.append((arg1 or run.result_max, arg2))
        elif op == Op.EMIT and choices:
            blocks.append(_Block(root, tuple(choices)))
            root, choices = None, []
        else:
            return None
    return blocks if root is None else None


class _Mapping:
    """The result so far, and of the present block what each step has chosen for which position."""

    __slots__ = ("_collision_tries", "_run", "_steps", "_taken", "firstn", "out", "returned")

    def __init__(self, run: Run, firstn: bool, collision_tries: int) -> None:
        self._run = run
        self._collision_tries = collision_tries
        self._steps: tuple[tuple[int, int], ...] = ()
        self._taken: list[list[int]] = []
        self.firstn = firstn
        self.out = [ITEM_NONE] * run.result_max
        self.returned = 0

    def block(self, block: _Block, start: int, descents: int) -> int:
        """Fill the positions of one block, from `start`. Returns where they end."""
        result_max = self._run.result_max
        if len(block.steps) > DEPTH_MAX:
            return start  # every step goes down a level at least, and no map has that many
        total = 1
        for count, _ in block.steps:
            total *= count
        end = min(start + total, result_max)
        self._steps = block.steps
        self._taken = [[ITEM_UNDEF] * result_max for _ in block.steps]
        found = 0
        for attempt in range(descents):
            if found >= end - start:
                break
            found += self._descend(block.root, total, start, end, 0, attempt)
        return end

    def _descend(self, bucket: Chooser, total: int, start: int, end: int, step: int, attempt: int) -> int:
        """Try to fill the open ones of the positions `start` to `end` below a bucket. Returns how many it filled."""
        run = self._run
        count, kind = self._steps[step]
        stride = total // count
        taken, complete = self._taken[step], self._taken[-1]
        last = step + 1 == len(self._steps)
        found = 0
        fruitless: list[tuple[int, int]] = []
        for index, first in enumerate(range(start, end, stride)):
            run.spend(0)
            beyond = min(first + stride, end)
            if ITEM_UNDEF not in complete[first:beyond]:
                continue
            item = self._choose(bucket, kind, taken, (start, first, beyond, end), index, attempt)
            if item >= 0:
                if kind or item == ITEM_NONE or stride != 1 or not last or run.is_out(item):
                    continue
                taken[first] = item
                self.out[self.returned if self.firstn else first] = item
                self.returned += 1
                found += 1
                continue
            below = run.choosers[item]
            if last or below is None:
                continue
            filled = self._descend(below, stride, first, beyond, step + 1, attempt)
            found += filled
            if item not in taken[first:beyond]:
                taken[taken.index(ITEM_UNDEF, first, beyond)] = item
                if not filled:
                    fruitless.append((first, beyond))
        # until here, they kept the other strides from trying the same
        for first, beyond in fruitless:
            place = max(at for at in range(first, beyond) if taken[at] != ITEM_UNDEF)
            taken[place] = ITEM_UNDEF
        return found

    def _choose(
        self,
        bucket: Chooser,
        kind: int,
        taken: list[int],
        bounds: tuple[int, int, int, int],
        index: int,
        attempt: int,
    ) -> int:
        """An item of type `kind` that no other stride of this step has; ITEM_NONE after too many collisions."""
        start, first, beyond, end = bounds
        r = attempt * self._run.result_max + index << 16
        for local in range(self._collision_tries):
            item = self._walk(bucket, kind, r + local & _MASK, index)
            if item == ITEM_NONE:
                continue
            if item not in taken[start:end] or first <= taken.index(item, start, end) < beyond:
                return item
        return ITEM_NONE

    def _walk(self, bucket: Chooser, kind: int, r: int, position: int) -> int:
        """Down to the first item of type `kind`, or to a device; ITEM_NONE at a dead end."""
        run = self._run
        while True:
            run.spend(bucket.size)
            if not bucket.size:
                return ITEM_NONE
            item = bucket.choose(run.x, r, position)
            if item >= 0:
                return item if item < run.max_devices else ITEM_NONE
            below = run.choosers[item]
            if below is None:
                return ITEM_NONE
            if below.type == kind:
                return item
            bucket = below
