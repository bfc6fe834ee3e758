"""The guests that run: their ends are noticed, and as long as they last they are kept going and held to their ports.

A guest has a watcher, which notices its end, and perhaps a companion, a piece of work that ends with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog

from cove import tasks
from cove.bus import Bus
from cove.compute import boot, steps
from cove.compute.boot import RUN
from cove.compute.models import Server, ServerNotFound, Status
from cove.compute.network_api import Port
from cove.compute.port_watch import PortWatch
from cove.compute.steps import Job, Toolbox
from cove.errors import CoveError
from cove.linux.processes import Process

log = structlog.get_logger(__name__)

HOUSEKEEPING_INTERVAL_S = 30.0
RESUME_FOR_S = 60.0
RESUME_INTERVAL_S = 0.5


class RunningGuests:
    """`lock` gives the lock of a server: whoever works on one has it."""

    def __init__(self, tools: Toolbox, lock: Callable[[str], asyncio.Lock], bus: Bus | None) -> None:
        self._tools = tools
        self._lock = lock
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._companions: dict[str, asyncio.Task[None]] = {}
        self._by_port: dict[str, str] = {}
        self._housekeeper: asyncio.Task[None] | None = None
        self._port_watch = PortWatch(
            tools.network,
            bus,
            is_watched=self._by_port.__contains__,
            on_change=self._port_changed,
            is_idle=lambda: not self._by_port,
        )

    def start(self) -> None:
        """Begin to look after them."""
        self._housekeeper = asyncio.create_task(self._keep_house(), name="compute housekeeping")
        self._port_watch.start()

    async def close(self) -> None:
        """Look after nobody; they run on."""
        await self._port_watch.close()
        await tasks.end([*self._watchers.values(), *self._companions.values(), self._housekeeper])
        self._watchers.clear()
        self._companions.clear()
        self._by_port.clear()
        self._housekeeper = None

    # -- who runs ---------------------------------------------------------------------------------------------------

    def watch(self, server: Server, process: Process) -> None:
        """The server's guest runs from now on. Its port may have changed while it was being started."""
        self._begin(server, process)
        if server.port_id is not None:
            self._port_watch.look_at(server.port_id)

    def _begin(self, server: Server, process: Process) -> None:
        work = self._notice_end(server.id, process)
        self._watchers[server.id] = asyncio.create_task(work, name=f"watch {server.id}")
        if server.port_id is not None:
            self._by_port[server.port_id] = server.id

    def adopt(self, server: Server, process: Process) -> None:
        """The same for a guest that an earlier service has left. All ports are looked at at the start."""
        self._begin(server, process)
        self._tools.timeline.mark(server.id, "adopted", pid=process.pid)
        log.info("compute.adopt", server=server.id, pid=process.pid)
        self.accompany(server.id, self._keep_going(server.id))

    def accompany(self, server_id: str, work: Coroutine[Any, Any, None]) -> None:
        """A task beside a running guest, which ends with it at the latest."""
        self._companions[server_id] = asyncio.create_task(work, name=f"beside {server_id}")

    async def unwatch(self, server: Server) -> None:
        """Its guest is about to be ended, if it runs at all: nobody is to notice. The server's lock is held."""
        self._forget_port(server)
        await tasks.end([owned.pop(server.id, None) for owned in (self._watchers, self._companions)])

    def _forget_port(self, server: Server) -> None:
        if server.port_id is not None:
            self._by_port.pop(server.port_id, None)

    async def _notice_end(self, server_id: str, process: Process) -> None:
        """A guest that ends by itself (poweroff, a crash of QEMU) leaves a server that is SHUTOFF."""
        try:
            await process.wait()
        finally:
            process.close()
        async with self._lock(server_id):
            try:
                server = await self._tools.records.get(server_id)
            except ServerNotFound:
                return
            self._watchers.pop(server_id, None)
            self._forget_port(server)
            if (companion := self._companions.pop(server_id, None)) is not None:
                companion.cancel()
            log.info("compute.guest_ended", server=server_id)
            await steps.undo(Job(self._tools, server), RUN)
            server.status = Status.SHUTOFF
            await self._tools.records.save(server)
            self._tools.timeline.mark(server_id, "ended")

    # -- keeping them going -----------------------------------------------------------------------------------------

    async def _keep_going(self, server_id: str) -> None:
        """Let an adopted guest go on if it is paused, or gets paused yet, for want of its disk.

        QEMU looks for the disk's server at growing intervals (to 16 s), and again only when the guest asks for it: so
        for a while it may take several tries.
        """
        deadline = time.monotonic() + RESUME_FOR_S
        while time.monotonic() < deadline:
            await self._resume(server_id)
            await asyncio.sleep(RESUME_INTERVAL_S)

    async def _resume(self, server_id: str) -> None:
        try:
            await self._tools.hypervisor.resume(server_id)
        except CoveError as error:
            log.debug("compute.resume", server=server_id, error=str(error))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_INTERVAL_S)
            try:
                await self._tools.wiring.check_guards()
            except CoveError as error:
                log.error("compute.housekeeping", what="guests are not guarded against spoofing", error=str(error))
            for server_id in list(self._watchers):
                try:
                    await self._tools.hypervisor.trim_console_log(server_id)
                except OSError as error:
                    log.warning("compute.housekeeping", server=server_id, error=str(error))
                await self._resume(server_id)

    # -- holding them to their ports --------------------------------------------------------------------------------

    async def _port_changed(self, port: Port) -> None:
        """A running guest may say it is what its port is now: no more, and no less."""
        server_id = self._by_port.get(port.id)
        if server_id is None:
            return
        async with self._lock(server_id):
            if self._by_port.get(port.id) != server_id:
                return  # it ended meanwhile
            server = await self._tools.records.get(server_id)
            before, known = boot.guest_rules(server), msgspec.json.encode(server.runtime)
            boot.learn_port(server, port)
            if msgspec.json.encode(server.runtime) == known:
                return
            rules = boot.guest_rules(server)
            if rules is None:
                await self._tools.wiring.unguard(server.runtime.tap)
            elif rules != before:
                await self._tools.wiring.guard(rules)
            await self._tools.records.save(server)
        addresses = [fixed.ip_address for fixed in port.fixed_ips]
        self._tools.timeline.mark(server_id, "port_changed", port_id=port.id, ip_addresses=addresses)
