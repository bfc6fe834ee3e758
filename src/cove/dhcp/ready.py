"""Tells the server for which ports the DHCP server answers: what is pending goes in one call, nothing waits for more.

Source: Neutron's DHCP agent, dhcp_ready_on_ports in batches of at most 64.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from cove.bus import BusError

log = structlog.get_logger(__name__)

BATCH_MAX = 64
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0


class ReadyReporter:
    """Collects port ids; `run` sends them, oldest first, and repeats what failed."""

    def __init__(self, send: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._send = send
        self._pending: dict[str, None] = {}
        self._wake = asyncio.Event()

    def add(self, port_ids: Iterable[str]) -> None:
        """These ports are ready. The set is bounded by the number of ports there are."""
        self._pending.update(dict.fromkeys(port_ids))
        if self._pending:
            self._wake.set()

    def discard(self, port_id: str) -> None:
        """The port is gone: nobody needs to know."""
        self._pending.pop(port_id, None)

    async def run(self) -> None:
        """Send for ever. Cancel it to stop."""
        retry_s = RETRY_FIRST_S
        while True:
            await self._wake.wait()
            batch = list(self._pending)[:BATCH_MAX]
            if not batch:
                self._wake.clear()
                continue
            for port_id in batch:
                del self._pending[port_id]
            try:
                await self._send(batch)
                retry_s = RETRY_FIRST_S
            except BusError as error:
                log.warning("dhcp_ready_on_ports failed", ports=len(batch), retry_s=retry_s, error=str(error))
                self._pending = {**dict.fromkeys(batch), **self._pending}
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
