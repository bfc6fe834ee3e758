"""Choosing in one bucket: a `Chooser` for each algorithm, prepared once for a map and used for every placement.

Each answers `choose(x, r, position)`: the item that the seed x gets at the r-th attempt. The same arguments give the
same item for ever, which is all that keeps clients and OSDs agreed on where data is.

Source: Ceph's crush/mapper.c (bucket_*_choose), Weil et al., "CRUSH", 2006.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import floordiv, mul

from .hash import hash3, hash4, lanes_of
from .ln import DRAWS
from .map import ITEM_NONE, Bucket, BucketAlg, ChooseArg, CrushMap

_draw_of = DRAWS.__getitem__


class Chooser:
    """What the mapper asks of a bucket. `choose` and `permuted` are not for empty ones."""

    __slots__ = ("_last", "id", "is_uniform", "items", "size", "type")

    def __init__(self, bucket: Bucket) -> None:
        self.id = bucket.id
        self.type = bucket.type
        self.items = bucket.items
        self.size = len(bucket.items)
        self.is_uniform = bucket.alg is BucketAlg.UNIFORM
        self._last: tuple[int, list[int]] = (-1, [])

    def choose(self, x: int, r: int, position: int) -> int:
        """The item for seed `x` at attempt `r`; `position` in the result matters to weight sets only."""
        raise NotImplementedError

    def permuted(self, x: int, r: int) -> int:
        """The r-th item, around and around, of a random order of all items that is the same for every r."""
        seed, order = self._last
        if seed != x:
            lanes = lanes_of(self.size)
            hashes = hash3(lanes.spread(x), lanes.spread(self.id), lanes.pack(range(self.size)), lanes)
            order = list(self.items)
            for at, value in enumerate(lanes.whole(hashes)):
                other = at + value % (self.size - at)
                order[at], order[other] = order[other], order[at]
            self._last = (x, order)
        return order[r % self.size]


class _Uniform(Chooser):
    """All items weigh the same."""

    __slots__ = ()

    def choose(self, x: int, r: int, position: int) -> int:
        return self.permuted(x, r)


class _List(Chooser):
    """From the newest item to the oldest: this one, with the share it has in the sum so far, or go on?"""

    __slots__ = ("_ids", "_lanes", "_newest_first")

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket)
        self._lanes = lanes_of(self.size)
        self._ids = self._lanes.pack(self.items)
        self._newest_first = tuple(
            (index, bucket.weights[index], bucket.extra[index]) for index in reversed(range(self.size))
        )

    def choose(self, x: int, r: int, position: int) -> int:
        lanes = self._lanes
        draws = lanes.low(hash4(lanes.spread(x), self._ids, lanes.spread(r), lanes.spread(self.id), lanes))
        for index, weight, total in self._newest_first:
            if draws[index] * total >> 16 < weight:
                return self.items[index]
        return self.items[0]


class _Tree(Chooser):
    """Down a binary tree: left or right, by the weights on both sides. Leaf i is node 2i + 1."""

    __slots__ = ("_nodes",)

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket)
        self._nodes = bucket.weights

    def choose(self, x: int, r: int, position: int) -> int:
        nodes = self._nodes
        node = len(nodes) >> 1
        while not node & 1:
            half = (node & -node) >> 1
            left = node - half
            node = left if hash4(x, node, r, self.id) * nodes[node] >> 32 < nodes[left] else node + half
        index = node >> 1
        # only weights that don't add up lead to a leaf without an item
        return self.items[index] if index < self.size else ITEM_NONE


class _Straw(Chooser):
    """The longest straw wins; their lengths were scaled by weight when the map was made."""

    __slots__ = ("_ids", "_lanes", "_straws")

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket)
        self._lanes = lanes_of(self.size)
        self._ids = self._lanes.pack(self.items)
        self._straws = bucket.extra

    def choose(self, x: int, r: int, position: int) -> int:
        lanes = self._lanes
        draws = list(map(mul, lanes.low(hash3(lanes.spread(x), self._ids, lanes.spread(r), lanes)), self._straws))
        return self.items[draws.index(max(draws))]


class _Straw2(Chooser):
    """The longest straw wins, drawn from an exponential distribution by each item's weight, whatever the others'."""

    __slots__ = ("_sets",)

    def __init__(self, bucket: Bucket, replaced: ChooseArg) -> None:
        super().__init__(bucket)
        ids = replaced.ids or bucket.items
        self._sets = tuple(_WeightSet(bucket.items, ids, weights) for weights in replaced.weight_sets) or (
            _WeightSet(bucket.items, ids, bucket.weights),
        )

    def choose(self, x: int, r: int, position: int) -> int:
        sets = self._sets
        weights = sets[position] if position < len(sets) else sets[-1]
        lanes = weights.lanes
        draws = list(
            map(
                floordiv,
                map(_draw_of, lanes.low(hash3(lanes.spread(x), weights.ids, lanes.spread(r), lanes))),
                weights.weights,
            )
        )
        return weights.items[draws.index(min(draws))]


class _WeightSet:
    """The items of a straw2 bucket that can win: those with a weight, or the first of all if none has one."""

    __slots__ = ("ids", "items", "lanes", "weights")

    def __init__(self, items: tuple[int, ...], ids: tuple[int, ...], weights: tuple[int, ...]) -> None:
        able = [index for index, weight in enumerate(weights) if weight]
        self.weights: tuple[int, ...] = tuple(weights[index] for index in able) if able else (1,)
        able = able or [0]
        self.items = tuple(items[index] for index in able)
        self.lanes = lanes_of(len(able))
        self.ids = self.lanes.pack([ids[index] for index in able])


_PLAIN = {BucketAlg.UNIFORM: _Uniform, BucketAlg.LIST: _List, BucketAlg.TREE: _Tree, BucketAlg.STRAW: _Straw}
_UNCHANGED = ChooseArg()


class Choosers(dict[int, Chooser | None]):
    """Bucket id → Chooser, prepared when first asked for; None where an id leads nowhere."""

    __slots__ = ("_buckets", "_replaced")

    def __init__(self, buckets: Mapping[int, Bucket], replaced: Mapping[int, ChooseArg]) -> None:
        super().__init__()
        self._buckets = buckets
        self._replaced = replaced

    def __missing__(self, number: int) -> Chooser | None:
        bucket = self._buckets.get(number)
        if bucket is None:
            return None
        chooser = self[number] = self._make(bucket)
        return chooser

    def _make(self, bucket: Bucket) -> Chooser:
        if not bucket.items:
            return Chooser(bucket)
        if bucket.alg is BucketAlg.STRAW2:
            return _Straw2(bucket, self._replaced.get(bucket.id, _UNCHANGED))
        return _PLAIN[bucket.alg](bucket)


def choosers_for(crush: CrushMap, pool: int) -> Choosers:
    """The choosers of a map as a pool sees them, with its weight sets; kept in the map."""
    key = crush.choose_args_for(pool)
    choosers = crush.prepared.get(key)
    if not isinstance(choosers, Choosers):
        choosers = Choosers(crush.buckets, crush.choose_args.get(key, {}) if key is not None else {})
        crush.prepared[key] = choosers
    return choosers
