"""QEMU's machine protocol, as much of it as an instance's life needs: a thin, timed shell around qemu.qmp.

A monitor takes one client at a time, so a connection is opened for each piece of work and closed after it: then it is
free for people, and a restarted Cove finds it free. Source: QEMU's QMP reference manual.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient
from qemu.qmp.error import QMPError

from cove.errors import CoveError

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 10.0

# The library reports every lost connection as an error of its own; ours say it with the instance's name.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class MonitorError(CoveError):
    """The monitor does not answer, or refused a command."""


class Monitor:
    """An open monitor. Get one with `monitor(socket_path)`."""

    def __init__(self, client: Any, path: Path) -> None:
        self._client = client
        self._path = path

    async def execute(
        self, name: str, arguments: dict[str, Any] | None = None, *, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> Any:
        """Run a command and return its answer. Raises MonitorError."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._client.execute(name, arguments)
        except TimeoutError:
            raise MonitorError(f"{self._path}: no answer to {name} after {timeout_s:.0f} s") from None
        except (QMPError, OSError, EOFError) as error:
            raise MonitorError(f"{self._path}: {name}: {error}") from error

    async def status(self) -> str:
        """`running`, `paused`, `io-error`, `shutdown`, … (QMP: RunState)."""
        return str((await self.execute("query-status"))["status"])

    async def power_button(self) -> None:
        """Press the ACPI power button: a request to the guest, which may take its time or ignore it."""
        await self.execute("system_powerdown")

    async def resume(self) -> None:
        """Let a paused guest go on; requests that failed are tried again."""
        await self.execute("cont")


@asynccontextmanager
async def monitor(path: Path, *, timeout_s: float = CONNECT_TIMEOUT_S) -> AsyncIterator[Monitor]:
    """Connect to the monitor on this socket for the length of the block. Raises MonitorError if that fails."""
    client = QMPClient("cove")
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect(str(path))
    except TimeoutError:
        raise MonitorError(f"{path}: the monitor does not answer (it takes one client at a time)") from None
    except (QMPError, OSError, EOFError) as error:
        raise MonitorError(f"{path}: {error}") from error
    try:
        yield Monitor(client, path)
    finally:
        # A QEMU that has exited meanwhile ends the connection first: expected, and of no interest.
        try:
            async with asyncio.timeout(timeout_s):
                await client.disconnect()
        except (TimeoutError, QMPError, OSError, EOFError):
            pass
