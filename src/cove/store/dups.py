"""Duplicates: a request that comes again gets the answer of its first run.

Answers are recorded in the transaction of the change itself: one entry of the table `meta` per commit holds those of
its requests, and the oldest entries go when there are enough newer ones. What failed or changed nothing is recorded
too, but its record is not waited for: to run such a request again does no harm.

Source: Ceph's PGLog (dups, osd_pg_log_dups_tracked).
"""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from typing import NamedTuple

from .layer import Layer

REQUESTS_MAX = 20_000
"""Answers kept: far above what all clients together can have in flight."""
_PREFIX = b"dups."
_NUMBER = struct.Struct(">Q")
_RECORD = struct.Struct("<BqiQiIQQ")

RequestId = tuple[int, int, int, int]
"""Kind and number of the client, incarnation, tid."""


class Answer(NamedTuple):
    """Result and versions of a request's first run."""

    result: int
    epoch: int
    version: int
    user_version: int


class Duplicates:
    """The answers by request."""

    def __init__(self, entries: list[tuple[bytes, bytes]]) -> None:
        """`entries`: the durable ones, as `Engine.meta_items(PREFIX)` gives them."""
        self._answers: OrderedDict[RequestId, Answer] = OrderedDict()
        self._batches: deque[tuple[bytes, int]] = deque()
        self._total = 0
        self._next = 0
        self._layer: Layer | None = None
        self._key = b""
        self._pending = bytearray()
        for key, value in entries:
            count = len(value) // _RECORD.size
            for kind, client, inc, tid, result, epoch, version, user_version in _RECORD.iter_unpack(value):
                self._answers[(kind, client, inc, tid)] = Answer(result, epoch, version, user_version)
            self._batches.append((key, count))
            self._total += count
            self._next = _NUMBER.unpack_from(key, len(_PREFIX))[0] + 1

    PREFIX = _PREFIX

    def find(self, request: RequestId) -> Answer | None:
        """The recorded answer, if the request was run before."""
        return self._answers.get(request)

    def record(self, layer: Layer, request: RequestId, answer: Answer) -> None:
        """Record an answer; it becomes durable with the layer."""
        if layer is not self._layer:
            self._begin(layer)
        self._answers[request] = answer
        self._pending += _RECORD.pack(*request, *answer)
        key, count = self._batches[-1]
        self._batches[-1] = (key, count + 1)
        self._total += 1

    def _begin(self, layer: Layer) -> None:
        self._layer = layer
        self._pending = bytearray()
        self._key = _PREFIX + _NUMBER.pack(self._next)
        self._next += 1
        layer.records[self._key] = self._pending
        self._batches.append((self._key, 0))
        while self._total > REQUESTS_MAX and len(self._batches) > 1:
            key, count = self._batches.popleft()
            self._total -= count
            layer.records[key] = None
            for _ in range(min(count, len(self._answers))):
                self._answers.popitem(last=False)

    def reload(self, entries: list[tuple[bytes, bytes]]) -> None:
        """Forget what was lost with a layer."""
        following = self._next
        self.__init__(entries)  # type: ignore[misc]
        self._next = max(self._next, following)
