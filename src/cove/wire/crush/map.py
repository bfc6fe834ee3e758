"""The CRUSH map as the cluster distributes it inside the OSD map: buckets, rules, tunables, classes, weight sets.

`decode_crush` checks whatever the mapper relies on (sizes, slots, no cycles, a depth that is sane), so that running
a rule needs no further checks except for ids that lead nowhere, which it treats as Ceph does. The buffer has no
version: fields were only ever appended, and a reader takes them as far as the buffer goes.

Source: Ceph's crush/CrushWrapper.cc (encode, decode), crush/crush.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final, NamedTuple

from ..encoding import Buffer, Decoder, Encoder
from ..errors import PeerError, UsageError
from ..features import CRUSH_MSR, CRUSH_TUNABLES5, SERVER_LUMINOUS, has

MAGIC: Final = 0x00010000
WEIGHT_ONE: Final = 0x10000
"""Weights are 16.16 fixed point."""
ITEM_NONE: Final = 0x7FFFFFFF
"""A hole in a set whose positions matter."""
ITEM_UNDEF: Final = 0x7FFFFFFE
DEPTH_MAX: Final = 64
"""Levels of buckets; real maps have at most the twelve default types' worth."""
RULES_MAX: Final = 256
DEFAULT_WEIGHT_SET: Final = -1
"""The key in `choose_args` that serves the pools without a set of their own."""


class BucketAlg(IntEnum):
    """How a bucket chooses among its items."""

    UNIFORM = 1
    LIST = 2
    TREE = 3
    STRAW = 4
    STRAW2 = 5


class Op(IntEnum):
    """What a step of a rule does."""

    NOOP = 0
    TAKE = 1
    CHOOSE_FIRSTN = 2
    CHOOSE_INDEP = 3
    EMIT = 4
    CHOOSELEAF_FIRSTN = 6
    CHOOSELEAF_INDEP = 7
    SET_CHOOSE_TRIES = 8
    SET_CHOOSELEAF_TRIES = 9
    SET_CHOOSE_LOCAL_TRIES = 10
    SET_CHOOSE_LOCAL_FALLBACK_TRIES = 11
    SET_CHOOSELEAF_VARY_R = 12
    SET_CHOOSELEAF_STABLE = 13
    SET_MSR_DESCENTS = 14
    SET_MSR_COLLISION_TRIES = 15
    CHOOSE_MSR = 16


class RuleType(IntEnum):
    """What kind of pool a rule is for."""

    REPLICATED = 1
    ERASURE = 3
    MSR_FIRSTN = 4
    MSR_INDEP = 5


DEFAULT_TYPES: Final[dict[int, str]] = dict(
    enumerate(("osd", "host", "chassis", "rack", "row", "pdu", "pod", "room", "datacenter", "zone", "region", "root"))
)
"""Numbers and names of the levels that every new map has."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """An inner node. Devices are items >= 0, other buckets items < 0.

    `weights`, 16.16: straw2, straw and list have one for each item, uniform a single one for all, tree one for each
    node of its binary tree. `extra`: list: sums of the weights up to and including each item; straw: straw lengths.
    """

    id: int
    type: int
    alg: BucketAlg
    items: tuple[int, ...]
    weights: tuple[int, ...]
    weight: int
    extra: tuple[int, ...] = ()

    @property
    def slot(self) -> int:
        """Where it stands in the map."""
        return -1 - self.id

    def item_weight(self, index: int) -> int:
        """The 16.16 weight of the item at an index."""
        if self.alg is BucketAlg.UNIFORM:
            return self.weights[0]
        return self.weights[2 * index + 1 if self.alg is BucketAlg.TREE else index]


class RuleStep(NamedTuple):
    """One step of a rule; what the arguments mean depends on the operation. Unknown operations do nothing."""

    op: int
    arg1: int = 0
    arg2: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """How devices are chosen for a placement group. The sizes are dead fields that still travel."""

    type: int
    steps: tuple[RuleStep, ...]
    min_size: int = 1
    max_size: int = 100


@dataclass(frozen=True, slots=True)
class Tunables:
    """Constants of the algorithm. The defaults are the `jewel` profile, which new clusters have."""

    choose_local_tries: int = 0
    choose_local_fallback_tries: int = 0
    choose_total_tries: int = 50
    chooseleaf_descend_once: int = 1
    chooseleaf_vary_r: int = 1
    straw_calc_version: int = 1
    allowed_bucket_algs: int = 0x36
    chooseleaf_stable: int = 1
    msr_descents: int = 100
    msr_collision_tries: int = 100


JEWEL: Final = Tunables()
HAMMER: Final = replace(JEWEL, chooseleaf_stable=0)
FIREFLY: Final = replace(HAMMER, allowed_bucket_algs=0x16)
BOBTAIL: Final = replace(FIREFLY, chooseleaf_vary_r=0)
LEGACY: Final = Tunables(2, 5, 19, 0, 0, 0, 0x16, 0)
"""What holds where a map ends before its tunables (`argonaut`)."""


class ChooseArg(NamedTuple):
    """Replacements for a straw2 bucket: weights by output position (the last serves all further ones), ids to hash."""

    weight_sets: tuple[tuple[int, ...], ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(slots=True)
class CrushMap:
    """A map; not changed once it is in use (the mapper keeps what it has prepared in `prepared`)."""

    buckets: dict[int, Bucket]
    rules: tuple[Rule | None, ...] = ()
    max_devices: int = 0
    max_buckets: int = 0
    types: dict[int, str] = field(default_factory=lambda: dict(DEFAULT_TYPES))
    names: dict[int, str] = field(default_factory=dict)
    rule_names: dict[int, str] = field(default_factory=dict)
    tunables: Tunables = JEWEL
    classes: dict[int, int] = field(default_factory=dict)
    """Item → device class."""
    class_names: dict[int, str] = field(default_factory=dict)
    shadows: dict[int, dict[int, int]] = field(default_factory=dict)
    """Bucket → class → the shadow bucket that holds only devices of that class."""
    choose_args: dict[int, dict[int, ChooseArg]] = field(default_factory=dict)
    """Pool (or DEFAULT_WEIGHT_SET) → bucket → replacements."""
    prepared: dict[int | None, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    @staticmethod
    def simple(osds: Iterable[int] | Mapping[int, int], *, root: str = "default", host: str = "localhost") -> CrushMap:
        """One root with one host that holds all OSDs (ids, or ids with 16.16 weights), and rule 0 over the OSDs."""
        weights = dict(osds) if isinstance(osds, Mapping) else dict.fromkeys(osds, WEIGHT_ONE)
        items = tuple(sorted(weights))
        if items and items[0] < 0:
            raise UsageError(f"OSD {items[0]} has a negative number")
        total = sum(weights.values())
        types = {name: number for number, name in DEFAULT_TYPES.items()}
        buckets = {
            -1: Bucket(-1, types["root"], BucketAlg.STRAW2, (-2,), (total,), total),
            -2: Bucket(-2, types["host"], BucketAlg.STRAW2, items, tuple(weights[osd] for osd in items), total),
        }
        steps = (RuleStep(Op.TAKE, -1), RuleStep(Op.CHOOSE_FIRSTN, 0, types["osd"]), RuleStep(Op.EMIT))
        return CrushMap(
            buckets,
            rules=(Rule(RuleType.REPLICATED, steps),),
            max_devices=items[-1] + 1 if items else 0,
            max_buckets=len(buckets),
            names={-1: root, -2: host} | {osd: f"osd.{osd}" for osd in items},
            rule_names={0: "replicated_rule"},
        )

    def rule(self, number: int) -> Rule | None:
        """The rule with that number, None if there is none."""
        return self.rules[number] if 0 <= number < len(self.rules) else None

    def id_of(self, name: str) -> int | None:
        """The bucket or device with that name, None if there is none."""
        return next((item for item, known in self.names.items() if known == name), None)

    def choose_args_for(self, pool: int) -> int | None:
        """Which set of `choose_args` serves a pool, None if none does."""
        if pool in self.choose_args:
            return pool
        return DEFAULT_WEIGHT_SET if DEFAULT_WEIGHT_SET in self.choose_args else None

    def check(self) -> None:
        """Raises PeerError where following the buckets could go on for ever, or deeper than DEPTH_MAX."""
        waiting: dict[int, int] = {}
        parents: dict[int, list[int]] = {}
        for bucket in self.buckets.values():
            children = [item for item in bucket.items if item in self.buckets]
            waiting[bucket.id] = len(children)
            for child in children:
                parents.setdefault(child, []).append(bucket.id)
        # from the leaves up: a bucket's depth is known once those of all its children are
        level = [number for number, count in waiting.items() if not count]
        done = depth = 0
        while level:
            depth += 1
            if depth > DEPTH_MAX:
                raise PeerError(f"a CRUSH map with more than {DEPTH_MAX} levels")
            done += len(level)
            above = []
            for number in level:
                for parent in parents.get(number, ()):
                    waiting[parent] -= 1
                    if not waiting[parent]:
                        above.append(parent)
            level = above
        if done != len(self.buckets):
            raise PeerError("a CRUSH map with a bucket that contains itself")


# decoding

_STEP = struct.Struct("<Iii")
_MASK = struct.Struct("<BBBB")


def decode_crush(data: Buffer) -> CrushMap:
    """The CRUSH map in a whole buffer. Raises PeerError."""
    decoder = Decoder(data)
    magic = decoder.u32()
    if magic != MAGIC:
        raise PeerError(f"a CRUSH map begins with {magic:#x}, not {MAGIC:#x}")
    max_buckets, max_rules, max_devices = decoder.i32(), decoder.u32(), decoder.i32()
    if max_buckets < 0 or max_devices < 0 or max_rules > RULES_MAX:
        raise PeerError(f"a CRUSH map for {max_buckets} buckets, {max_rules} rules, {max_devices} devices")
    if 4 * (max_buckets + max_rules) > decoder.remaining:
        raise PeerError(f"{max_buckets} buckets and {max_rules} rules in {decoder.remaining} bytes")
    buckets: dict[int, Bucket] = {}
    for slot in range(max_buckets):
        bucket = _decode_bucket(decoder, -1 - slot)
        if bucket is not None:
            buckets[bucket.id] = bucket
    rules = tuple(_decode_rule(decoder, number) for number in range(max_rules))
    crush = CrushMap(buckets, rules, max_devices, max_buckets, tunables=LEGACY)
    crush.types = decoder.map(decoder.i32, decoder.str)
    crush.names = decoder.map(decoder.i32, decoder.str)
    crush.rule_names = decoder.map(decoder.i32, decoder.str)
    crush.tunables = _decode_tunables(decoder, LEGACY)
    if decoder.remaining:
        crush.classes = decoder.map(decoder.i32, decoder.i32)
        crush.class_names = decoder.map(decoder.i32, decoder.str)
        crush.shadows = decoder.map(decoder.i32, lambda: decoder.map(decoder.i32, decoder.i32))
    if decoder.remaining:
        crush.choose_args = _decode_choose_args(decoder, crush)
    if decoder.remaining:
        descents, tries = decoder.u32(), decoder.u32()
        crush.tunables = replace(crush.tunables, msr_descents=descents, msr_collision_tries=tries)
    crush.check()
    return crush


def _numbers(decoder: Decoder, count: int, kind: str = "I") -> tuple[int, ...]:
    """`count` 32-bit numbers; `raw` refuses a count that the buffer does not hold."""
    return struct.unpack(f"<{count}{kind}", decoder.raw(4 * count))


def _decode_bucket(decoder: Decoder, expected_id: int) -> Bucket | None:
    if not decoder.u32():
        return None
    number, kind, alg, hash_kind = decoder.i32(), decoder.u16(), decoder.u8(), decoder.u8()
    weight, size = decoder.u32(), decoder.u32()
    if number != expected_id:
        raise PeerError(f"bucket {number} stands in the slot of {expected_id}")
    if not kind:
        raise PeerError(f"bucket {number} claims to be a device")
    if hash_kind:
        raise PeerError(f"bucket {number} uses hash {hash_kind}, which does not exist")
    items = _numbers(decoder, size, "i")
    weights: tuple[int, ...]
    extra: tuple[int, ...] = ()
    if alg == BucketAlg.UNIFORM:
        weights = (decoder.u32(),)
    elif alg == BucketAlg.STRAW2:
        weights = _numbers(decoder, size)
    elif alg in (BucketAlg.LIST, BucketAlg.STRAW):
        pairs = _numbers(decoder, 2 * size)
        weights, extra = pairs[0::2], pairs[1::2]
    elif alg == BucketAlg.TREE:
        nodes = decoder.u8()
        if size and (nodes & (nodes - 1) or nodes < 2 * size):
            raise PeerError(f"tree bucket {number} has {nodes} nodes for {size} items")
        weights = _numbers(decoder, nodes)
    else:
        raise PeerError(f"bucket {number} chooses by algorithm {alg}, which does not exist")
    return Bucket(number, kind, BucketAlg(alg), items, weights, weight, extra)


def _decode_rule(decoder: Decoder, expected: int) -> Rule | None:
    if not decoder.u32():
        return None
    count = decoder.u32()
    number, kind, min_size, max_size = _MASK.unpack(decoder.raw(_MASK.size))
    if number != expected:
        raise PeerError(f"rule {number} stands in the slot of {expected}")
    steps = tuple(RuleStep._make(step) for step in _STEP.iter_unpack(decoder.raw(_STEP.size * count)))
    return Rule(kind, steps, min_size, max_size)


_TUNABLES: Final = (
    (("choose_local_tries", "u32"), ("choose_local_fallback_tries", "u32"), ("choose_total_tries", "u32")),
    (("chooseleaf_descend_once", "u32"),),
    (("chooseleaf_vary_r", "u8"),),
    (("straw_calc_version", "u8"),),
    (("allowed_bucket_algs", "u32"),),
    (("chooseleaf_stable", "u8"),),
)
"""In groups that came together, so that a map ends after a whole group."""


def _decode_tunables(decoder: Decoder, missing: Tunables) -> Tunables:
    found: dict[str, int] = {}
    for group in _TUNABLES:
        if not decoder.remaining:
            break
        for name, kind in group:
            found[name] = decoder.u32() if kind == "u32" else decoder.u8()
    return replace(missing, **found)


def _decode_choose_args(decoder: Decoder, crush: CrushMap) -> dict[int, dict[int, ChooseArg]]:
    def one() -> tuple[int, ChooseArg]:
        slot = decoder.u32()
        if slot >= crush.max_buckets:
            raise PeerError(f"a weight set for slot {slot} of {crush.max_buckets}")
        bucket = crush.buckets.get(-1 - slot)
        weight_sets = tuple(decoder.list(lambda: _numbers(decoder, decoder.u32())))
        ids = _numbers(decoder, decoder.u32(), "i")
        size = len(bucket.items) if bucket is not None else 0
        if any(len(weights) != size for weights in weight_sets) or len(ids) not in (0, size):
            raise PeerError(f"a weight set of another size than bucket {-1 - slot}'s {size}")
        return -1 - slot, ChooseArg(weight_sets, ids)

    def entries() -> dict[int, ChooseArg]:
        return {number: entry for number, entry in decoder.list(one) if any(entry)}

    return decoder.map(decoder.i64, entries)


# encoding


def encode_crush(crush: CrushMap, features: int) -> bytes:
    """The map's bytes for peers with these features. Raises UsageError if something does not fit."""
    encoder = Encoder()
    encoder.u32(MAGIC)
    encoder.i32(crush.max_buckets)
    encoder.u32(len(crush.rules))
    encoder.i32(crush.max_devices)
    if any(not -crush.max_buckets <= number < 0 for number in crush.buckets):
        raise UsageError(f"a bucket outside the {crush.max_buckets} slots")
    for slot in range(crush.max_buckets):
        _encode_bucket(encoder, crush.buckets.get(-1 - slot))
    for number, rule in enumerate(crush.rules):
        _encode_rule(encoder, number, rule)
    encoder.map(crush.types, encoder.i32, encoder.str)
    encoder.map(crush.names, encoder.i32, encoder.str)
    encoder.map(crush.rule_names, encoder.i32, encoder.str)
    groups = _TUNABLES if has(features, CRUSH_TUNABLES5) else _TUNABLES[:-1]
    for name, kind in (entry for group in groups for entry in group):
        (encoder.u32 if kind == "u32" else encoder.u8)(getattr(crush.tunables, name))
    if has(features, SERVER_LUMINOUS):
        encoder.map(crush.classes, encoder.i32, encoder.i32)
        encoder.map(crush.class_names, encoder.i32, encoder.str)
        encoder.map(crush.shadows, encoder.i32, lambda by_class: encoder.map(by_class, encoder.i32, encoder.i32))
        encoder.map(crush.choose_args, encoder.i64, lambda entries: _encode_choose_args(encoder, entries))
    if has(features, CRUSH_MSR):
        encoder.u32(crush.tunables.msr_descents)
        encoder.u32(crush.tunables.msr_collision_tries)
    return encoder.bytes()


def _encode_numbers(encoder: Encoder, values: Iterable[int], kind: str = "I") -> None:
    numbers = tuple(values)
    try:
        encoder.raw(struct.pack(f"<{len(numbers)}{kind}", *numbers))
    except struct.error:
        raise UsageError("a weight or id of the CRUSH map does not fit into 32 bits") from None


def _encode_bucket(encoder: Encoder, bucket: Bucket | None) -> None:
    if bucket is None:
        encoder.u32(0)
        return
    encoder.u32(bucket.alg)
    encoder.i32(bucket.id)
    encoder.u16(bucket.type)
    encoder.u8(bucket.alg)
    encoder.u8(0)
    encoder.u32(bucket.weight)
    encoder.u32(len(bucket.items))
    _encode_numbers(encoder, bucket.items, "i")
    if bucket.alg in (BucketAlg.LIST, BucketAlg.STRAW):
        _encode_numbers(encoder, (n for pair in zip(bucket.weights, bucket.extra, strict=True) for n in pair))
        return
    if bucket.alg is BucketAlg.TREE:
        encoder.u8(len(bucket.weights))
    _encode_numbers(encoder, bucket.weights)


def _encode_rule(encoder: Encoder, number: int, rule: Rule | None) -> None:
    encoder.u32(rule is not None)
    if rule is None:
        return
    encoder.u32(len(rule.steps))
    for value in (number, rule.type, rule.min_size, rule.max_size):
        encoder.u8(value)
    for step in rule.steps:
        encoder.u32(step.op)
        encoder.i32(step.arg1)
        encoder.i32(step.arg2)


def _encode_choose_args(encoder: Encoder, entries: dict[int, ChooseArg]) -> None:
    """Entries that replace nothing are left out, as Ceph does."""
    present = {-1 - number: entry for number, entry in entries.items() if entry.weight_sets or entry.ids}
    encoder.u32(len(present))
    for slot in sorted(present):
        entry = present[slot]
        encoder.u32(slot)
        encoder.u32(len(entry.weight_sets))
        for weights in entry.weight_sets:
            encoder.u32(len(weights))
            _encode_numbers(encoder, weights)
        encoder.u32(len(entry.ids))
        _encode_numbers(encoder, entry.ids, "i")
