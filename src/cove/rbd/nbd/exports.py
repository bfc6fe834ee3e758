"""Who uses which export: backends are opened by their first client and closed after their last.

One writing client at a time. A new client waits for one that is just leaving (its last requests are being
finished), as QEMU does when it reconnects, and is refused while another one works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from ..errors import Error
from .backend import Backend

log = structlog.get_logger(__name__)

HANDOVER_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 30.0


class ExportBusy(Exception):
    """Another client uses the export."""


@dataclass(slots=True)
class Export:
    """One export: its backend while somebody uses it."""

    name: str
    backend: Backend | None = None
    users: int = 0
    clients: int = 0
    leaving: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class Exports:
    """All exports of a server, by name."""

    def __init__(
        self, names: Sequence[str], open_backend: Callable[[str], Awaitable[Backend]], *, read_only: bool
    ) -> None:
        self.names = list(names)
        self.read_only = read_only
        self._open_backend = open_backend
        self._exports = {name: Export(name) for name in names}

    async def acquire(self, name: str, *, client: bool) -> Export:
        """Use an export; `client`: for transmission, not only to ask about it. Give back with `release`.

        Raises ExportBusy, KeyError (no such export), TimeoutError, or what opening the backend raises.
        """
        export = self._exports[name]
        async with export.changed:
            if client and not self.read_only and export.clients:
                await self._wait_for_handover(export)
            if export.backend is None:
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    export.backend = await self._open_backend(name)
            export.users += 1
            export.clients += client
        return export

    async def _wait_for_handover(self, export: Export) -> None:
        try:
            async with asyncio.timeout(HANDOVER_TIMEOUT_S):
                while export.clients and export.leaving:
                    await export.changed.wait()
        except TimeoutError:
            pass
        if export.clients:
            raise ExportBusy(f"export {export.name!r} is in use by another client")

    def leaving(self, export: Export) -> None:
        """The client of an export is gone; its requests are still being finished."""
        export.leaving += 1

    async def release(self, export: Export, *, client: bool) -> None:
        """The other half of `acquire`. The last one closes the backend; its errors are logged."""
        async with export.changed:
            export.users -= 1
            if client:
                export.clients -= 1
                export.leaving -= 1
            if not export.users and export.backend is not None:
                backend, export.backend = export.backend, None
                try:
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await backend.close()
                except (Error, OSError, TimeoutError) as error:
                    log.warning("nbd_backend_close_failed", export=export.name, error=str(error))
            export.changed.notify_all()
