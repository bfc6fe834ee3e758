"""The compute service: records of servers, the tasks that work on them, and what a start and an end of Cove mean.

Each server has at most one piece of work at a time (its lock); work that outlives a request is a task owned here.
Running guests are looked after in cove.compute.running. They outlive the service: `stop` leaves them running and
`start` finds them again; `shutdown` ends them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from cove.bus import Bus
from cove.compute import boot, prove, steps
from cove.compute.boot import PROVISION, RUN
from cove.compute.disks import DiskService
from cove.compute.hypervisor import Hypervisor, InstancePaths, QemuHypervisor, tail
from cove.compute.models import Fault, NameInUse, Server, ServerNotFound, ServerRecords, Status, TaskState, now
from cove.compute.network_api import NetworkApi
from cove.compute.requests import BootRequest, ConflictingState, InvalidRequest, new_record
from cove.compute.running import RunningGuests
from cove.compute.steps import Job, Patience, Toolbox
from cove.compute.uids import UidPool
from cove.compute.wiring import GuestFirewall, LinuxWiring, Wiring
from cove.config import Settings
from cove.db import Database
from cove.errors import CoveError
from cove.linux.processes import Process
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

BOOTS_AT_ONCE = 8
CONSOLE_OUTPUT_BYTES_MAX = 1 << 20
SHUTDOWN_GRACE_S = 5.0


class ComputeService:
    """Boots, lists, starts, stops and deletes servers."""

    def __init__(
        self,
        db: Database,
        network_api: NetworkApi,
        disks: DiskService,
        timeline: Timeline,
        settings: Settings,
        *,
        hypervisor: Hypervisor | None = None,
        wiring: Wiring | None = None,
        uids: UidPool | None = None,
        patience: Patience | None = None,
        bus: Bus | None = None,
        firewall: GuestFirewall | None = None,
    ) -> None:
        self._records = ServerRecords(db)
        self._tools = Toolbox(
            network=network_api,
            disks=disks,
            hypervisor=hypervisor or QemuHypervisor(settings.run_dir, settings.state_dir),
            wiring=wiring or LinuxWiring(settings.state_dir),
            timeline=timeline,
            records=self._records,
            uids=uids or UidPool(),
            guest_dir=settings.state_dir / "guest",
            host=settings.host,
            patience=patience or Patience(),
            firewall=firewall,
        )
        self._locks: dict[str, asyncio.Lock] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._task_states: dict[str, TaskState] = {}
        self._running = RunningGuests(self._tools, self._lock, bus)
        self._boots = asyncio.Semaphore(BOOTS_AT_ONCE)
        self._stopping = False

    @property
    def guest_dir(self) -> Path:
        """Where the micro guest is."""
        return self._tools.guest_dir

    # -- the life of the service ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Meet what the last run left: adopt running guests, disks first, and undo what was half made.

        One server's trouble is logged and does not keep the others from being looked after.
        """
        self._stopping = False
        servers = await self._records.list_all()
        processes: dict[str, Process] = {}
        for server in servers:
            try:
                process = await self._tools.hypervisor.find(server.id)
            except (CoveError, OSError) as error:
                log.error("compute.adopt", server=server.id, what="its process is not found", error=str(error))
                continue
            if process is None:
                continue
            if server.status is Status.ACTIVE and not server.runtime.deleting:
                processes[server.id] = process
            else:
                process.close()
        # A guest waits for its disk only so long: disks first, all of them at once.
        running = [server for server in servers if server.id in processes]
        exports = await asyncio.gather(*map(self._export_again, running), return_exceptions=True)
        for server, outcome in zip(running, exports, strict=True):
            if isinstance(outcome, BaseException):
                log.error("compute.adopt", server=server.id, what="its disk is not served", error=str(outcome))
        try:
            await self._guard_again(running)
        except CoveError as error:
            log.error("compute.adopt", what="guests are not guarded against spoofing", error=str(error))
        try:
            if self._tools.firewall is not None:
                await self._tools.firewall.start([boot.guest_port(server) for server in running if server.port_id])
        except CoveError as error:
            log.error("compute.adopt", what="security groups are not in force", error=str(error))
        for server in running:
            self._running.adopt(server, processes[server.id])
        for server in servers:
            if server.id not in processes:
                await self._try_to_recover(server)
        await self._remove_strays({server.id for server in servers})
        self._running.start()

    async def _export_again(self, server: Server) -> None:
        assert server.runtime.uid is not None
        self._tools.uids.restore(server.id, server.runtime.uid)
        await boot.export_disk(Job(self._tools, server))

    async def _guard_again(self, running: Sequence[Server]) -> None:
        rules = [guest for server in running if (guest := boot.guest_rules(server))]
        if rules:
            await self._tools.wiring.reset_guards(rules)
        else:
            await self._tools.wiring.remove_guards()

    async def _try_to_recover(self, server: Server) -> None:
        try:
            await self._recover(server)
        except (CoveError, OSError) as error:
            log.error("compute.recover", server=server.id, error=str(error))

    async def _recover(self, server: Server) -> None:
        """A server whose guest does not run, or should not: bring record and world together."""
        job = Job(self._tools, server)
        if server.runtime.deleting:
            await self._finish_delete(job)
            return
        before = msgspec.json.encode(server)
        if server.status is Status.BUILD:
            left = await steps.undo(job, PROVISION + RUN)
            self._fail(server, "Cove ended while this server was being built; what was made has been undone", left)
        elif server.status is Status.ERROR:
            # It holds nothing, unless the end of Cove came while that was being seen to.
            await steps.undo(job, PROVISION + RUN)
        else:
            await steps.undo(job, RUN)
            if server.status is Status.ACTIVE:
                server.status = Status.SHUTOFF
        if msgspec.json.encode(server) != before:
            await self._records.save(server)

    async def _remove_strays(self, known: set[str]) -> None:
        """Guests that no record knows (the database was replaced) end."""
        for instance_id in await self._tools.hypervisor.list_present():
            if instance_id not in known:
                log.warning("compute.stray", instance=instance_id)
                try:
                    await self._tools.hypervisor.stop(instance_id, grace_s=0.0)
                    await self._tools.hypervisor.clear(instance_id)
                except (CoveError, OSError) as error:
                    log.error("compute.stray", instance=instance_id, error=str(error))

    async def stop(self) -> None:
        """End this service, for a restart: guests run on, work that is under way is undone."""
        self._stopping = True
        work = [*self._work.values()]
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await self._running.close()
        if self._tools.firewall is not None:
            await self._tools.firewall.close()
        self._work.clear()
        self._task_states.clear()

    async def shutdown(self) -> None:
        """End every guest, all at once, and leave nothing of them on the host but their state."""
        await self.stop()
        servers = await self._records.list_all()
        outcomes = await asyncio.gather(*map(self._power_off, servers), return_exceptions=True)
        for server, outcome in zip(servers, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                log.error("compute.shutdown", server=server.id, error=str(outcome))
        removals = [self._tools.wiring.remove_guards()]
        if self._tools.firewall is not None:
            removals.append(self._tools.firewall.destroy())
        for outcome in await asyncio.gather(*removals, return_exceptions=True):
            if isinstance(outcome, BaseException):
                log.error("compute.shutdown", what="rules of nftables are left", error=str(outcome))

    async def _power_off(self, server: Server) -> None:
        if server.status is Status.ACTIVE:
            left = await steps.undo(Job(self._tools, server, grace_s=SHUTDOWN_GRACE_S), RUN)
            server.status = Status.SHUTOFF
            if left:
                server.runtime.fault = _fault("the server did not stop cleanly", left)
            await self._records.save(server)
        else:
            # Mostly there is nothing to do. But `stop` may have met a start or a failed build while it was being
            # undone, and then there is.
            await self._recover(server)

    # -- requests ---------------------------------------------------------------------------------------------------

    async def boot(self, request: BootRequest) -> Server:
        """Record a server and build it in the background: see `wait`, or look at its status.

        A record in ERROR holds nothing, so a new server may take its name. Raises InvalidRequest, NameInUse,
        TooManyServers, ConflictingState (Cove is stopping), or a NetworkApiError.
        """
        if self._stopping:
            raise ConflictingState("Cove is stopping")
        server = await new_record(request, self._tools)
        earlier = await self._records.find(request.name, request.project_id)
        if earlier is not None and earlier.status is Status.ERROR:
            with contextlib.suppress(ServerNotFound):  # somebody else was faster
                await self.delete(earlier.id)
        await self._records.insert(server)
        self._tools.timeline.mark(server.id, "requested", name=server.name)
        self._start_work(server.id, self._build(server), TaskState.SPAWNING)
        return server

    async def wait(self, server_id: str, timeout_s: float) -> Server:
        """Wait for the work on a server to end, and return its record. Raises TimeoutError, ServerNotFound."""
        task = self._work.get(server_id)
        if task is not None:
            done, _ = await asyncio.wait([task], timeout=timeout_s)
            if not done:
                raise TimeoutError(f"server {server_id} is not ready after {timeout_s:.0f} s")
        return await self._records.get(server_id)

    async def list(self, *, project_id: str | None = None, name: str | None = None) -> list[Server]:
        """All servers, oldest first, or a project's, or those of a name."""
        return await self._records.list_all(project_id, name)

    async def show(self, server_id: str) -> Server:
        """Raises ServerNotFound."""
        return await self._records.get(server_id)

    def task_state(self, server: Server) -> TaskState | None:
        """What is being done to the server; None when nothing is."""
        return TaskState.DELETING if server.runtime.deleting else self._task_states.get(server.id)

    def _state(self, server: Server) -> str:
        state = self.task_state(server)
        return server.status if state is None else f"{server.status} ({state})"

    async def owner_of_disk(self, pool: str, name: str) -> Server | None:
        """The server whose disk it is."""
        for server in await self._records.list_all():
            runtime = server.runtime
            if runtime.disk_made and (runtime.disk_pool, runtime.disk_name) == (pool, name):
                return server
        return None

    def paths(self, server_id: str) -> InstancePaths:
        """Where the server's sockets and logs are."""
        return self._tools.hypervisor.paths(server_id)

    async def console_output(self, server_id: str, *, lines: int | None = None) -> str:
        """The end of the console's log (at most 1 MiB), or its last lines. Raises ServerNotFound."""
        await self._records.get(server_id)
        text = await asyncio.to_thread(tail, self.paths(server_id).console_log, CONSOLE_OUTPUT_BYTES_MAX)
        if lines is None:
            return text
        return "".join(text.splitlines(keepends=True)[-lines:]) if lines > 0 else ""

    async def start_server(self, server_id: str) -> Server:
        """Start a server that is SHUTOFF, in the background. Raises ServerNotFound, ConflictingState."""
        server = await self._records.get(server_id)
        if server.status is not Status.SHUTOFF or server_id in self._work or self._stopping:
            raise ConflictingState(
                f"server {server.name} is {self._state(server)}: only one that is SHUTOFF can be started"
            )
        self._start_work(server_id, self._run_again(server_id), TaskState.POWERING_ON)
        return server

    async def stop_server(self, server_id: str) -> Server:
        """Power a server off, in the background. Raises ServerNotFound, ConflictingState."""
        server = await self._records.get(server_id)
        if server.status is not Status.ACTIVE or server_id in self._work or self._stopping:
            raise ConflictingState(
                f"server {server.name} is {self._state(server)}: only one that is ACTIVE can be stopped"
            )
        self._start_work(server_id, self._halt(server_id), TaskState.POWERING_OFF)
        return server

    async def delete(self, server_id: str) -> None:
        """Undo all that was made for a server, work under way included, and forget it.

        Raises ServerNotFound, or UndoError if something could not be removed: then the record stays, for another try.
        """
        await self._records.get(server_id)
        work = self._work.get(server_id)
        if work is not None:
            work.cancel()
            await asyncio.wait([work])
        async with self._lock(server_id):
            server = await self._records.get(server_id)
            await self._running.unwatch(server)
            server.runtime.deleting = True
            await self._records.save(server)
            await self._finish_delete(Job(self._tools, server))
        self._locks.pop(server_id, None)

    async def _finish_delete(self, job: Job) -> None:
        left = await steps.undo(job, PROVISION + RUN)
        if left:
            self._fail(job.server, "the server could not be deleted", left)
            await self._records.save(job.server)
            raise steps.UndoError(f"server {job.server.id} is not all gone: {'; '.join(left)}")
        await self._records.delete(job.server.id)
        self._tools.timeline.mark(job.server.id, "deleted")

    # -- work -------------------------------------------------------------------------------------------------------

    def _lock(self, server_id: str) -> asyncio.Lock:
        return self._locks.setdefault(server_id, asyncio.Lock())

    def _start_work(self, server_id: str, work: Coroutine[Any, Any, None], state: TaskState) -> None:
        task = asyncio.create_task(work, name=f"server {server_id}")
        self._work[server_id] = task
        self._task_states[server_id] = state

        def forget(done: asyncio.Task[None]) -> None:
            if self._work.get(server_id) is done:
                del self._work[server_id]
                del self._task_states[server_id]
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error("compute.work", server=server_id, error=str(error), exc_info=error)

        task.add_done_callback(forget)

    async def _build(self, server: Server) -> None:
        job = Job(self._tools, server)
        async with self._boots, self._lock(server.id):
            try:
                await steps.advance(job, PROVISION + boot.steps_to_start(server))
            except BaseException as error:
                self._fail(server, _why(error), getattr(error, "__notes__", ()))
                await self._records.save(server)
                if not isinstance(error, Exception):
                    raise
                return
            await self._now_active(job)

    async def _run_again(self, server_id: str) -> None:
        async with self._boots, self._lock(server_id):
            server = await self._records.get(server_id)
            job = Job(self._tools, server)
            try:
                await steps.advance(job, boot.steps_to_start(server))
            except BaseException as error:
                # It is as SHUTOFF as before, and its disk is untouched; the fault says why it did not start.
                server.runtime.fault = _fault(_why(error), getattr(error, "__notes__", ()))
                await self._records.save(server)
                if not isinstance(error, Exception):
                    raise
                return
            await self._now_active(job)

    async def _now_active(self, job: Job) -> None:
        assert job.process is not None
        job.server.status = Status.ACTIVE
        job.server.runtime.fault = None
        await self._records.save(job.server)
        self._running.watch(job.server, job.process)
        job.mark("active")
        if not job.is_micro_guest:
            self._running.accompany(job.server.id, self._see_lease(job))

    async def _see_lease(self, job: Job) -> None:
        """A user's own image counts as started before it asks for an address: tell when it does."""
        try:
            await prove.watch_lease(job)
        except steps.BootError as error:
            job.mark("no_lease", error=str(error))

    async def _halt(self, server_id: str) -> None:
        async with self._lock(server_id):
            server = await self._records.get(server_id)
            await self._running.unwatch(server)
            job = Job(self._tools, server, grace_s=self._tools.patience.power_off_s)
            left = await steps.undo(job, RUN)
            server.status = Status.SHUTOFF
            if left:
                server.runtime.fault = _fault("the server did not stop cleanly", left)
            await self._records.save(server)
            job.mark("stopped")

    def _fail(self, server: Server, message: str, left: Any) -> None:
        server.status = Status.ERROR
        server.runtime.fault = _fault(message, left)


def _fault(message: str, left: Any) -> Fault:
    details = "; ".join(str(note) for note in left)
    return Fault(500, f"{message} ({details})" if details else message, now())


def _why(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "the work on this server was cancelled; what was made has been undone"
    return str(error) or type(error).__name__


__all__ = ["BootRequest", "ComputeService", "ConflictingState", "InvalidRequest", "NameInUse", "ServerNotFound"]
