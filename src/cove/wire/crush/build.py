"""Making CRUSH maps: hosts, racks and roots, device classes, and the rules that pools usually have.

The embedded store and tests make their maps with it; `CrushMap.simple` serves where one host is all there is.

    builder = CrushBuilder()
    root = builder.bucket("default", "root")
    host = builder.bucket("host-a", "host", root)
    builder.osd(0, host, weight=WEIGHT_ONE, device_class="ssd")
    builder.replicated_rule("fast", "default", "host", device_class="ssd")
    crush = builder.build()

Source: Ceph's crush/builder.c, CrushWrapper.cc (add_simple_rule, device_class_clone), erasure-code/ErasureCode.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from ..errors import UsageError
from .map import (
    DEFAULT_TYPES,
    JEWEL,
    WEIGHT_ONE,
    Bucket,
    BucketAlg,
    ChooseArg,
    CrushMap,
    Op,
    Rule,
    RuleStep,
    RuleType,
    Tunables,
)

ERASURE_TRIES: Final = (RuleStep(Op.SET_CHOOSELEAF_TRIES, 5), RuleStep(Op.SET_CHOOSE_TRIES, 100))
"""A hole is worse than a long search, where every position counts."""


def make_bucket(number: int, kind: int, alg: BucketAlg, items: Sequence[int], weights: Sequence[int]) -> Bucket:
    """A bucket with what its algorithm keeps besides the 16.16 weights of the items.

    Raises UsageError: straw lengths are not made any more, and uniform means that all weights are equal.
    """
    total = sum(weights)
    if alg is BucketAlg.STRAW:
        raise UsageError("straw buckets are not made any more: use straw2")
    if alg is BucketAlg.UNIFORM:
        if len(set(weights)) > 1:
            raise UsageError(f"bucket {number} is uniform, but its items weigh differently")
        return Bucket(number, kind, alg, tuple(items), (weights[0] if weights else 0,), total)
    if alg is BucketAlg.TREE:
        return Bucket(number, kind, alg, tuple(items), _tree_nodes(weights), total)
    sums = tuple(accumulate(weights)) if alg is BucketAlg.LIST else ()
    return Bucket(number, kind, alg, tuple(items), tuple(weights), total, sums)


def _tree_nodes(weights: Sequence[int]) -> tuple[int, ...]:
    """The weights of a tree's nodes: item i is node 2i + 1, and between each two lies their parent."""
    if not weights:
        return ()
    nodes = [0] * (2 << (len(weights) - 1).bit_length())
    root = len(nodes) >> 1
    for index, weight in enumerate(weights):
        node = 2 * index + 1
        nodes[node] += weight
        while node != root:
            height = node & -node
            node = node - height if node & 2 * height else node + height
            nodes[node] += weight
    return tuple(nodes)


@dataclass(slots=True)
class _Node:
    """A bucket that is still growing."""

    number: int
    kind: int
    alg: BucketAlg
    items: list[int] = field(default_factory=list)


class CrushBuilder:
    """Collects buckets, OSDs and rules; `build` makes the map. Names and numbers that clash raise UsageError."""

    def __init__(self, *, tunables: Tunables = JEWEL, alg: BucketAlg = BucketAlg.STRAW2) -> None:
        self._tunables = tunables
        self._alg = alg
        self._kinds = {name: number for number, name in DEFAULT_TYPES.items()}
        self._nodes: dict[int, _Node] = {}
        self._names: dict[int, str] = {}
        self._weights: dict[int, int] = {}
        self._classes: dict[int, int] = {}
        self._class_numbers: dict[str, int] = {}
        self._shadows: dict[int, dict[int, int]] = {}
        self._rules: list[tuple[str, Rule]] = []
        self._choose_args: dict[int, dict[int, ChooseArg]] = {}

    # the tree

    def bucket(self, name: str, kind: str, parent: int | None = None, *, alg: BucketAlg | None = None) -> int:
        """A new bucket of a level (`host`, `rack`, …), below another one or at the top. Returns its id."""
        if name in self._names.values():
            raise UsageError(f"there is a CRUSH item {name!r} already")
        if not self._kinds.get(kind):
            raise UsageError(f"{kind!r} is no level of buckets; there are {', '.join(sorted(self._kinds))}")
        number = -1 - len(self._nodes)
        if parent is not None:
            self._put(number, parent)
        self._nodes[number] = _Node(number, self._kinds[kind], alg or self._alg)
        self._names[number] = name
        return number

    def osd(self, osd: int, parent: int, *, weight: int = WEIGHT_ONE, device_class: str = "") -> None:
        """An OSD below a bucket, with a 16.16 weight (by custom its size in TiB)."""
        if osd < 0 or osd in self._weights:
            raise UsageError(f"OSD {osd} has a negative number or is in the map already")
        self._put(osd, parent)
        self._weights[osd] = weight
        self._names[osd] = f"osd.{osd}"
        if device_class:
            self._classes[osd] = self._class_numbers.setdefault(device_class, len(self._class_numbers))

    def _put(self, item: int, parent: int) -> None:
        if self._shadows:
            raise UsageError("the first rule for a device class comes after the last bucket and OSD")
        if parent not in self._nodes:
            raise UsageError(f"there is no bucket {parent}")
        self._nodes[parent].items.append(item)

    # rules

    def replicated_rule(self, name: str, root: str, domain: str, *, device_class: str = "") -> int:
        """Each replica in another `domain` (`osd`, `host`, …) below `root`. Returns the rule's number."""
        choose = Op.CHOOSELEAF_FIRSTN if self._kind(domain) else Op.CHOOSE_FIRSTN
        return self._usual_rule(name, RuleType.REPLICATED, (), choose, root, domain, device_class)

    def erasure_rule(self, name: str, root: str, domain: str, *, device_class: str = "") -> int:
        """Each shard in another `domain` below `root`, in positions that stay. Returns the rule's number."""
        choose = Op.CHOOSELEAF_INDEP if self._kind(domain) else Op.CHOOSE_INDEP
        return self._usual_rule(name, RuleType.ERASURE, ERASURE_TRIES, choose, root, domain, device_class)

    def _usual_rule(
        self,
        name: str,
        kind: RuleType,
        first: tuple[RuleStep, ...],
        choose: Op,
        root: str,
        domain: str,
        device_class: str,
    ) -> int:
        take = RuleStep(Op.TAKE, self.root_of(root, device_class))
        steps = (*first, take, RuleStep(choose, 0, self._kind(domain)), RuleStep(Op.EMIT))
        return self.rule(name, Rule(kind, steps))

    def rule(self, name: str, rule: Rule) -> int:
        """Any other rule. Returns its number."""
        self._rules.append((name, rule))
        return len(self._rules) - 1

    def choose_args(self, pool: int, bucket: int, replaced: ChooseArg) -> None:
        """Other weights or ids for one bucket, as one pool (or all others: DEFAULT_WEIGHT_SET) shall see it."""
        self._choose_args.setdefault(pool, {})[bucket] = replaced

    def _kind(self, name: str) -> int:
        if name not in self._kinds:
            raise UsageError(f"there is no level {name!r}; there are {', '.join(sorted(self._kinds))}")
        return self._kinds[name]

    # device classes

    @property
    def classes(self) -> tuple[str, ...]:
        """The device classes of the OSDs so far."""
        return tuple(self._class_numbers)

    def root_of(self, name: str, device_class: str = "") -> int:
        """What a rule takes: the bucket with that name, or its shadow that holds only devices of a class."""
        number = next((item for item, known in self._names.items() if known == name and item < 0), None)
        if number is None:
            raise UsageError(f"there is no bucket {name!r}")
        if not device_class:
            return number
        if device_class not in self._class_numbers:
            raise UsageError(f"no device has the class {device_class!r}")
        return self._shadow(number, device_class)

    def _shadow(self, number: int, device_class: str) -> int:
        """A bucket's copy for one device class, with those of all buckets below it."""
        wanted = self._class_numbers[device_class]
        known = self._shadows.setdefault(number, {})
        if wanted in known:
            return known[wanted]
        node = self._nodes[number]
        items = [
            item if item >= 0 else self._shadow(item, device_class)
            for item in node.items
            if item < 0 or self._classes.get(item) == wanted
        ]
        shadow = -1 - len(self._nodes)
        self._nodes[shadow] = _Node(shadow, node.kind, node.alg, items)
        self._names[shadow] = f"{self._names[number]}~{device_class}"
        self._classes[shadow] = wanted
        known[wanted] = shadow
        return shadow

    # the map

    def build(self) -> CrushMap:
        """The map. Raises UsageError where an algorithm does not take the weights it is given."""
        totals = dict(self._weights)
        buckets: dict[int, Bucket] = {}

        def weigh(number: int) -> int:
            if number not in totals:
                node = self._nodes[number]
                weights = [weigh(item) for item in node.items]
                buckets[number] = make_bucket(number, node.kind, node.alg, node.items, weights)
                totals[number] = sum(weights)
            return totals[number]

        for number in self._nodes:
            weigh(number)
        return CrushMap(
            buckets,
            rules=tuple(rule for _, rule in self._rules),
            max_devices=max(self._weights, default=-1) + 1,
            max_buckets=len(buckets),
            names=dict(self._names),
            rule_names={number: name for number, (name, _) in enumerate(self._rules)},
            tunables=self._tunables,
            classes=dict(self._classes),
            class_names={number: name for name, number in self._class_numbers.items()},
            shadows={number: dict(by_class) for number, by_class in self._shadows.items()},
            choose_args={pool: dict(entries) for pool, entries in self._choose_args.items()},
        )
