"""PortWatch: tells when the port of a running guest has changed, so that what holds the guest to it follows.

    bus notification ─▶ which port ─▶ the API says what it is now ─▶ on_change        at once
    every CHECK_INTERVAL_S ─▶ the API says which ports have changed ─▶ on_change      what a lost notification was about

A new subnet may give addresses to ports that are there already, of which no notification tells: then all are asked for.
A notification is a hint; what counts is what the API says. Where compute has no bus, the second way is the only one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from cove import tasks
from cove.bus import Bus, Subscription
from cove.compute.network_api import NetworkApi, Port, PortNotFound
from cove.errors import CoveError

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 30.0
RETRY_S = 1.0
SUBNET_EVENTS = frozenset({"subnet.create.end", "subnet.delete.end"})
OVERLAP = timedelta(seconds=30)
"""How far back changes are asked for again: clocks differ, and a change is in sight only after its commit."""


class PortWatch:
    """`is_watched` tells whose ports matter; `on_change` gets a port as it is now, changed or not."""

    def __init__(
        self,
        network: NetworkApi,
        bus: Bus | None,
        *,
        is_watched: Callable[[str], bool],
        on_change: Callable[[Port], Awaitable[None]],
        is_idle: Callable[[], bool],
    ) -> None:
        self._network = network
        self._bus = bus
        self._is_watched = is_watched
        self._on_change = on_change
        self._is_idle = is_idle
        self._noticed: dict[str, None] = {}
        self._again: dict[str, None] = {}
        self._since: str | None = None
        self._check_at = 0.0
        self._wake = asyncio.Event()
        self._subscription: Subscription | None = None
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch from now on, and look at all ports once: what changed before is found out, too."""
        if self._bus is not None:
            self._subscription = self._bus.subscribe_notifications(self.notice)
        self._worker = asyncio.create_task(self._work(), name="port watch")

    async def close(self) -> None:
        """Watch no more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
        worker, self._worker = self._worker, None
        await tasks.end([worker])

    def look_at(self, port_id: str) -> None:
        """The port is watched from now on: it may have changed before."""
        self._noticed[port_id] = None
        self._wake.set()

    def notice(self, event_type: str, payload: Mapping[str, Any]) -> None:
        """A notification of the bus. Returns at once. There are no more to remember than ports that are watched."""
        port = payload.get("port")
        if event_type in SUBNET_EVENTS:
            self._check_at = 0.0
            self._wake.set()
        if event_type == "port.update.end" and isinstance(port, Mapping) and self._is_watched(str(port.get("id"))):
            self.look_at(str(port["id"]))

    async def _work(self) -> None:
        while True:
            try:
                async with asyncio.timeout(max(0.0, self._check_at - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                if time.monotonic() >= self._check_at:
                    self._check_at = time.monotonic() + CHECK_INTERVAL_S
                    await self._check()
                while self._noticed:
                    await self._look(next(iter(self._noticed)))
            except CoveError as error:
                log.warning("port_watch", error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("port_watch")
                await asyncio.sleep(RETRY_S)

    async def _look(self, port_id: str) -> None:
        try:
            port = await self._network.show_port(port_id)
        except PortNotFound:
            self._noticed.pop(port_id, None)
            return
        self._noticed.pop(port_id, None)
        await self._tell(port)

    async def _check(self) -> None:
        if self._is_idle():
            self._since = None
            return
        began = datetime.now(UTC) - OVERLAP
        self._noticed |= self._again
        self._again.clear()
        for port in await self._network.list_changed_ports(self._since):
            if self._is_watched(port.id):
                await self._tell(port)
        self._since = began.strftime("%Y-%m-%dT%H:%M:%SZ")

    async def _tell(self, port: Port) -> None:
        """One port's trouble is no other's: it is looked at again at the next check."""
        try:
            await self._on_change(port)
        except Exception as error:
            log.warning("port_watch", port=port.id, error=str(error), exc_info=not isinstance(error, CoveError))
            self._again[port.id] = None
