"""Group commit: what waits together becomes durable with one fsync.

The event loop executes vectors into the layer that is being filled. Whenever the commit thread is free, it gets that
layer whole and writes it, while the loop fills the next one; when the commit is confirmed, all that waited for it is
told in one turn of the loop. So while a disk needs 400 µs for an fsync, a client with 64 requests in flight pays for
a handful of them, and a client with one request waits for nobody.

A failed commit loses its layer and everything built on it: those who waited for the failed layer get the error, the
others are told to execute again (`RETRY`).
"""

from __future__ import annotations

import asyncio
import errno
import queue
import threading
from collections.abc import Callable

import structlog

from .engine import Engine
from .layer import Layer
from .space import Space
from .state import State
from .stats import StoreStats

log = structlog.get_logger(__name__)

LAYER_OPERATIONS_MAX = 1024
LAYER_BYTES_MAX = 4 << 20
"""A commit of more than one large write is no quicker (measured: 32 MiB were a third slower), and needs more memory."""
BURST_OPERATIONS = 128
"""So many vectors of one turn of the loop are enough for a commit to begin. (Measured: to begin with fewer costs more
in fsyncs than it gains in overlap.)"""
RETRY = 1
"""Instead of an errno: the layer was lost with another one's; execute again."""
STOP_TIMEOUT_S = 60.0


class CommitPipeline:
    """Hands layers to the commit thread, one at a time. All methods belong to the event loop."""

    def __init__(self, state: State, stats: StoreStats) -> None:
        self._state = state
        self._stats = stats
        self.space = Space(state.engine)
        self._loop = asyncio.get_running_loop()
        self._in_flight: Layer | None = None
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue: queue.SimpleQueue[tuple[Layer, int] | None] = queue.SimpleQueue()
        self.failed = 0
        """Not 0: the negative errno that all writes get, since the disk can't be trusted any more."""
        self.on_room: Callable[[], None] | None = None
        """Called when a new layer has begun to be filled."""
        self.on_lost: list[Callable[[], None]] = []
        """Called when all that is not durable has been forgotten, before those who waited are told."""
        self._no_space = False
        self._layer_bytes_max = self._bytes_for_layer()
        self._thread = threading.Thread(target=self._run, name="cove-store-commit", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether the layer that is being filled has all it may have; wait for `on_room`."""
        layer = self._state.layers[-1]
        return layer.operations >= LAYER_OPERATIONS_MAX or layer.bytes >= self._layer_bytes_max

    def schedule(self) -> None:
        """Something was added to the layer: have it committed, with all that comes in this turn of the loop.

        In a large burst the thread need not wait for the last one: it begins with the first, and the rest is executed
        while the disk works.
        """
        if self._in_flight is not None:
            return
        if not self._scheduled:
            self._scheduled = True
            self._idle.clear()
            self._loop.call_soon(self._submit_scheduled)
        elif self._state.layers[-1].operations >= BURST_OPERATIONS:
            self._submit()

    def _submit_scheduled(self) -> None:
        self._scheduled = False
        self._submit()

    def _submit(self) -> None:
        layer = self._state.layers[-1]
        if self._in_flight is not None:
            return
        if not layer.must_commit:
            self._idle.set()
            return
        self._in_flight = self._state.close_layer()
        self._queue.put((layer, self._state.next_number))
        if self.on_room is not None:
            self.on_room()

    def _run(self) -> None:
        """The commit thread."""
        engine: Engine = self._state.engine
        while True:
            item = self._queue.get()
            if item is None:
                return
            layer, next_number = item
            error: Exception | None = None
            try:
                engine.commit(layer, next_number)
            except Exception as caught:
                error = caught
            self._loop.call_soon_threadsafe(self._committed, layer, error)

    def _committed(self, layer: Layer, error: Exception | None) -> None:
        self._in_flight = None
        state = self._state
        if error is None:
            self._stats.commits += 1
            assert state.layers[0] is layer
            del state.layers[0]
            state.drop_reader()
            self.space.note_commit(layer.bytes)
            self._note_space(self.space.is_low(), "")
            lost: list[Layer] = []
            code = 0
        else:
            code = self._failure_code(error, layer)
            lost = [other for other in state.layers if other is not layer]
            state.reset()
            for forget in self.on_lost:
                forget()
        _tell(layer, code)
        for other in lost:
            _tell(other, self.failed or RETRY)
        self._submit_or_idle()

    def _submit_or_idle(self) -> None:
        if self._state.layers[-1].must_commit:
            self._submit()
        else:
            self._idle.set()
            if self.on_room is not None:
                self.on_room()

    def _failure_code(self, error: Exception, layer: Layer) -> int:
        """ENOSPC leaves everything as it was; after any other failure nobody knows what the disk holds."""
        if self.space.is_used_up(error, layer.bytes):
            self.space.note_commit(layer.bytes)
            self._note_space(True, str(error))
            return -errno.ENOSPC
        self.failed = -errno.EIO
        log.critical(
            "commit_failed_writes_refused",
            error=str(error),
            path=str(self._state.engine.path),
            remedy="check the disk, then restart",
            exc_info=error,
        )
        return self.failed

    def abandon(self) -> None:
        """Throw the layer away that is being filled, and refuse writes from now on: it can't be told what is in it."""
        self.failed = -errno.EIO
        layer = self._state.layers.pop()
        self._state.layers.append(self._state.new_layer())
        log.critical("layer_abandoned_writes_refused", operations=layer.operations, remedy="restart")
        _tell(layer, self.failed)

    def _note_space(self, low: bool, error: str) -> None:
        """Say it once when space runs out, and once when there is some again."""
        if low and not self._no_space:
            log.error(
                "store_full",
                path=str(self._state.engine.path),
                left_bytes=self.space.room_bytes(),
                error=error,
                remedy="remove images or make the disk larger",
            )
        elif self._no_space and not low:
            log.info("store_has_space_again", path=str(self._state.engine.path))
        self._no_space = low
        self._layer_bytes_max = self._bytes_for_layer()

    def _bytes_for_layer(self) -> int:
        """With little space left, less is committed together: what fits should not fail with what does not."""
        return max(min(LAYER_BYTES_MAX, self.space.left // 4), self.space.reserve // 8, 1)

    async def drain(self) -> None:
        """Wait until everything that was added is durable, or lost. Raises TimeoutError."""
        async with asyncio.timeout(STOP_TIMEOUT_S):
            self.schedule()
            while self._in_flight is not None or self._scheduled:
                await self._idle.wait()

    async def stop(self) -> None:
        """Commit what is there, and end the thread."""
        try:
            await self.drain()
        finally:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join, STOP_TIMEOUT_S)


def _tell(layer: Layer, code: int) -> None:
    """Tell all who wait for a layer. A mistake in one must not leave the others waiting for ever."""
    for done in layer.done:
        try:
            done(code)
        except Exception:
            log.exception("answer_failed", code=code)
