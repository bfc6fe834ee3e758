"""Watch and notify: being told, and telling, what happens to an object.

    async with await ioctx.watch("board", lambda notification: b"seen") as watch:
        ...
    result = await ioctx.notify("board", b"changed")    # elsewhere; result.answers has the b"seen"

Source: Ceph's librados IoCtx (watch3, notify2, list_watchers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ..wire.encoding import Buffer, encode_text
from ..wire.errors import UsageError
from ..wire.watches import WatchItem
from .errors import Error, InvalidArgument
from .ioctx_base import IoCtxBase
from .notify import TIMEOUT_S_MAX, NotifyResult, notify
from .operations import ReadOp, as_buffer
from .target import ObjectKey
from .watch import Callback, Watch, WatchLinger, watch


class WatchMethods(IoCtxBase):
    """Watch and notify."""

    def _key_of(self, oid: str) -> ObjectKey:
        locator = self._locator
        for text in (oid, locator.key, locator.nspace):
            try:
                encode_text(text)
            except UsageError as problem:
                raise InvalidArgument(f"object {oid!r}: {problem}") from None
        return (locator.pool, oid, locator.key, locator.nspace)

    async def watch(
        self,
        oid: str,
        callback: Callback,
        *,
        on_error: Callable[[Error], None] | None = None,
        timeout_s: int = 0,
    ) -> Watch:
        """Have `callback(notification)` called for every notify on the object, until `unwatch`.

        `callback` is a function or a coroutine function; what it returns (bytes or None) is the answer. Those of one
        watch run one after the other. If it raises, or its queue overflows, the notifier learns that this watch
        missed the notify. `on_error(error)` is called once, when the watch is over before its `unwatch`: NotConnected
        (the object was removed, the watch was not renewed in time), TimedOut (notifications may be missing),
        Blocklisted. `timeout_s`: after how long out of touch the OSD forgets the watch; 0 is the OSD's default (30 s).

        Cancelling this leaves no watch behind. Raises ObjectNotFound, TimedOut, InvalidArgument, Overloaded.
        """
        if not 0 <= timeout_s <= TIMEOUT_S_MAX:
            raise InvalidArgument(f"timeout_s={timeout_s!r}: give whole seconds, or 0 for the OSD's default")
        linger = WatchLinger(
            self.objecter, self._key_of(oid), self._locator, self._snapc, int(timeout_s), self._extra_flags
        )
        return await watch(linger, callback, on_error)

    async def notify(self, oid: str, data: Buffer = b"", *, timeout_s: float = 10.0) -> NotifyResult:
        """Tell all who watch the object, and wait for their answers, at most `timeout_s` (rounded up to seconds).

        Raises NotifyTimedOut, which has the answers that came, if a watch did not answer in time; ObjectNotFound;
        TimedOut if the notify could not be sent. Without any watch the result is empty.
        """
        if not 0 < timeout_s <= TIMEOUT_S_MAX:
            raise InvalidArgument(f"timeout_s={timeout_s!r}: give seconds, more than 0")
        return await notify(
            self.objecter, self._key_of(oid), self._locator, self._snap_read, as_buffer(data), timeout_s
        )

    async def list_watchers(self, oid: str) -> list[WatchItem]:
        """Who watches the object: client, cookie, time-out and address of each watch. Raises ObjectNotFound."""
        result = await self.operate(oid, ReadOp().list_watchers())
        return cast("list[WatchItem]", result.value(0))
