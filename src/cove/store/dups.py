"""Duplicates: a request that comes again gets the answer of its first run.

Answers are recorded in the transaction of the change itself: one entry of the table `meta` per commit holds those of
its requests, and the oldest entries go when there are enough newer ones. What failed or changed nothing is recorded
too, but its record is not waited for: to run such a request again does no harm.

Of a request that failed, or wants its outputs back (RETURNVEC), the single operations' results are kept as well.

Source: Ceph's PGLog (dups, osd_pg_log_dups_tracked), pg_log_op_return_item_t.
"""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import NamedTuple

from .layer import Layer

REQUESTS_MAX = 20_000
"""Answers kept: far above what all clients together can have in flight."""
OUTPUT_MAX = 64
"""Bytes of an operation's output that are kept; of a longer one, none are."""
_PREFIX = b"answers."
_NUMBER = struct.Struct(">Q")
_RECORD = struct.Struct("<BqiQiIQQH")
_OPERATION = struct.Struct("<iB")

RequestId = tuple[int, int, int, int]
"""Kind and number of the client, incarnation, tid."""


class Answer(NamedTuple):
    """Result and versions of a request's first run; rval and output of each operation, where they are kept."""

    result: int
    epoch: int
    version: int
    user_version: int
    operations: tuple[tuple[int, bytes], ...] = ()


def _pack(request: RequestId, answer: Answer) -> bytes:
    head = _RECORD.pack(*request, *answer[:4], len(answer.operations))
    return head + b"".join(_OPERATION.pack(rval, len(output)) + output for rval, output in answer.operations)


def _unpack(data: bytes) -> Iterator[tuple[RequestId, Answer]]:
    at = 0
    while at < len(data):
        kind, client, inc, tid, result, epoch, version, user_version, count = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        operations = []
        for _ in range(count):
            rval, length = _OPERATION.unpack_from(data, at)
            at += _OPERATION.size
            operations.append((rval, data[at : at + length]))
            at += length
        yield (kind, client, inc, tid), Answer(result, epoch, version, user_version, tuple(operations))


class Duplicates:
    """The answers by request."""

    PREFIX = _PREFIX

    def __init__(self, entries: list[tuple[bytes, bytes]]) -> None:
        """`entries`: the durable ones, as `Engine.meta_items(PREFIX)` gives them."""
        self._next = 0
        self._load(entries)

    def _load(self, entries: list[tuple[bytes, bytes]]) -> None:
        self._answers: OrderedDict[RequestId, Answer] = OrderedDict()
        self._batches: deque[tuple[bytes, int]] = deque()
        self._total = 0
        self._layer: Layer | None = None
        self._pending = bytearray()
        for key, value in entries:
            count = 0
            for request, answer in _unpack(value):
                self._answers[request] = answer
                count += 1
            self._batches.append((key, count))
            self._total += count
            self._next = max(self._next, _NUMBER.unpack_from(key, len(_PREFIX))[0] + 1)

    def find(self, request: RequestId) -> Answer | None:
        """The recorded answer, if the request was run before."""
        return self._answers.get(request)

    def record(self, layer: Layer, request: RequestId, answer: Answer) -> None:
        """Record an answer; it becomes durable with the layer."""
        if layer is not self._layer:
            self._begin(layer)
        self._answers[request] = answer
        self._pending += _pack(request, answer)
        key, count = self._batches[-1]
        self._batches[-1] = (key, count + 1)
        self._total += 1
        layer.recorded += 1

    def _begin(self, layer: Layer) -> None:
        self._layer = layer
        self._pending = bytearray()
        key = _PREFIX + _NUMBER.pack(self._next)
        self._next += 1
        layer.records[key] = self._pending
        self._batches.append((key, 0))
        while self._total > REQUESTS_MAX and len(self._batches) > 1:
            key, count = self._batches.popleft()
            self._total -= count
            layer.records[key] = None
            for _ in range(min(count, len(self._answers))):
                self._answers.popitem(last=False)

    def reload(self, entries: list[tuple[bytes, bytes]]) -> None:
        """Forget what was lost with a layer; its number is not used again."""
        self._load(entries)
