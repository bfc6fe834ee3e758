"""The DHCP agent: endpoint of the server's notifications, full synchronisation, reports of its state.

Notifications are hints; the database is the truth. The agent consumes from the first moment but holds notifications
back while it takes a snapshot (`get_active_networks_info`), so that none is lost between the two. Each network has a
worker with a queue of its own (cove.dhcp.worker): one network's trouble does not hold up the others.

Source of methods and order: Neutron's DHCP agent and its RPC API.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from cove import tasks
from cove.bus import Bus, BusError, Handler, Subscription
from cove.config import Settings
from cove.dhcp.cache import NetworkCache
from cove.dhcp.drivers.base import DhcpDriver, ExchangeCallback, ExitCallback
from cove.dhcp.drivers.dnsmasq import Dnsmasq, DnsmasqConfig
from cove.dhcp.drivers.logwatch import LogWatch, ensure_instances
from cove.dhcp.errors import InvalidPayload
from cove.dhcp.models import check_id, decode_port
from cove.dhcp.plugin_api import PluginApi
from cove.dhcp.ready import ReadyReporter
from cove.dhcp.resync import ResyncSchedule
from cove.dhcp.worker import (
    Check,
    Converge,
    Event,
    NetworkDeleted,
    NetworkWorker,
    PortDeleted,
    PortSet,
    Refresh,
    WorkerContext,
)
from cove.linux import files
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

TOPIC = "dhcp_agent"
QUEUE_WAIT_S = 30.0
SYNC_TIMEOUT_S = 600.0
SYNC_NETWORKS_AT_ONCE = 4
CHECK_INTERVAL_S = 15.0


class DhcpAgent:
    """One agent a host. `start` converges from the database; `stop` leaves the DHCP servers running."""

    def __init__(self, bus: Bus, settings: Settings, timeline: Timeline | None) -> None:
        self._bus = bus
        self._settings = settings
        self._state_dir = settings.state_dir / "dhcp"
        self._plugin = PluginApi(bus, settings.host)
        self._ready = ReadyReporter(self._plugin.dhcp_ready_on_ports)
        self.cache = NetworkCache()
        self._context = WorkerContext(
            host=settings.host,
            state_dir=self._state_dir,
            lease_duration_s=settings.dhcp_lease_duration_s,
            plugin=self._plugin,
            cache=self.cache,
            ready=self._ready,
            timeline=timeline,
            make_driver=self._make_driver,
            schedule_resync=self.schedule_resync,
        )
        self._config: DnsmasqConfig | None = None
        self._watch: LogWatch | None = None
        self._workers: dict[str, tuple[NetworkWorker, asyncio.Task[None]]] = {}
        self._subscription: Subscription | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._gate = asyncio.Event()
        self._entering = 0
        self._sync_lock = asyncio.Lock()
        self._resync = ResyncSchedule()
        self._resync_wanted = asyncio.Event()

    # -- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Report in, consume, and converge with the database; returns when every network was looked at once.

        What could not be brought in step is tried again in the background. Raises DriverError (no dnsmasq), OSError.
        """
        self._config = DnsmasqConfig.detect(
            lease_duration_s=self._settings.dhcp_lease_duration_s, domain=self._settings.dns_domain
        )
        self._prepare_directories()
        self._watch = LogWatch()
        self._subscription = await self._bus.serve(TOPIC, self._settings.host, self.endpoint())
        self._tasks = [self._own(self._ready.run()), self._own(self._resync_loop()), self._own(self._check_loop())]
        try:
            await self._plugin.report_state(self._configurations(), start=True)
        except BusError as error:
            log.warning("the server did not take the first report", error=str(error))
        try:
            await self._synchronise()
        except (BusError, TimeoutError) as error:
            log.error("full synchronisation failed: trying again", error=str(error) or repr(error))
            self._gate.set()
            self.schedule_resync_all()
        self._tasks.append(self._own(self._report_loop()))

    async def stop(self) -> None:
        """Stop, and leave namespaces and DHCP servers as they are, for the next start."""
        await self._stop_tasks()
        for worker, _ in self._workers.values():
            await worker.close()
        self._workers.clear()
        self._close_watch()

    async def shutdown(self) -> None:
        """Stop, and remove processes, namespaces, bridges and run-time files of all networks.

        Works also on an agent that was never started (to clean up after one that was killed). DHCP ports and leases
        stay for the next start.
        """
        await self._stop_tasks()
        with contextlib.ExitStack() as stack:
            if self._watch is None:
                self._watch = LogWatch()
            stack.callback(self._close_watch)
            workers = {key: worker for key, (worker, _) in self._workers.items()}
            for network_id in self._known_directories():
                workers.setdefault(network_id, NetworkWorker(network_id, self._context))
            for network_id, worker in workers.items():
                try:
                    await worker.shutdown()
                except Exception:
                    log.exception("network not cleaned up", network_id=network_id)
            self._workers.clear()

    async def _stop_tasks(self) -> None:
        if self._subscription is not None:
            await self._subscription.close()
            self._subscription = None
        await tasks.end([*self._tasks, *(task for _, task in self._workers.values())])
        self._tasks.clear()

    def _close_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def describe(self, network_id: str) -> dict[str, Any]:
        """What serves the network here, for people: namespace, interface, pid and counts; {} where nothing does."""
        entry = self._workers.get(network_id)
        return {} if entry is None else entry[0].describe()

    # -- what the server sends ---------------------------------------------------------------------------------

    def endpoint(self) -> dict[str, Handler]:
        """The methods that the server casts: name to handler, called with `payload`."""
        return {
            "network_create_end": self.network_create_end,
            "network_update_end": self.network_update_end,
            "network_delete_end": self.network_delete_end,
            "subnet_create_end": self.subnet_create_end,
            "subnet_update_end": self.subnet_update_end,
            "subnet_delete_end": self.subnet_delete_end,
            "port_create_end": self.port_create_end,
            "port_update_end": self.port_update_end,
            "port_delete_end": self.port_delete_end,
            "agent_updated": self.agent_updated,
        }

    async def network_create_end(self, payload: dict[str, Any]) -> None:
        """The network was given to this agent."""
        await self._enqueue(_network_id(payload, "network", "id"), Refresh())

    async def network_update_end(self, payload: dict[str, Any]) -> None:
        """The network was changed."""
        await self._enqueue(_network_id(payload, "network", "id"), Refresh())

    async def network_delete_end(self, payload: dict[str, Any]) -> None:
        """The network was deleted, or taken from this agent. Comes to every agent: most need do nothing."""
        network_id = _network_id(payload, None, "network_id")
        await self._gate.wait()
        if network_id in self._workers or self.cache.get(network_id) is not None:
            await self._enqueue(network_id, NetworkDeleted())

    async def subnet_create_end(self, payload: dict[str, Any]) -> None:
        """A subnet was created."""
        await self._enqueue(_network_id(payload, "subnet", "network_id"), Refresh())

    async def subnet_update_end(self, payload: dict[str, Any]) -> None:
        """A subnet was changed."""
        await self._enqueue(_network_id(payload, "subnet", "network_id"), Refresh())

    async def subnet_delete_end(self, payload: dict[str, Any]) -> None:
        """A subnet was deleted."""
        network_id = payload.get("network_id")
        if network_id is None:
            network = self.cache.by_subnet(str(payload.get("subnet_id")))
            if network is None:
                return
            network_id = network.id
        await self._enqueue(check_id("network_id", network_id), Refresh())

    async def port_create_end(self, payload: dict[str, Any]) -> None:
        """A port was created."""
        port = decode_port(payload.get("port"))
        await self._enqueue(port.network_id, PortSet(port))

    async def port_update_end(self, payload: dict[str, Any]) -> None:
        """A port was changed."""
        await self.port_create_end(payload)

    async def port_delete_end(self, payload: dict[str, Any]) -> None:
        """A port was deleted."""
        port_id = check_id("port_id", str(payload.get("port_id")))
        network_id = payload.get("network_id")
        if network_id is None:
            network = self.cache.by_port(port_id)
            if network is None:
                return
            network_id = network.id
        await self._enqueue(check_id("network_id", network_id), PortDeleted(port_id))

    async def agent_updated(self, payload: dict[str, Any]) -> None:
        """The agent was set up or down: the server then names all networks or none."""
        log.info("agent updated", admin_state_up=payload.get("admin_state_up"))
        self.schedule_resync_all()

    # -- workers -----------------------------------------------------------------------------------------------

    async def _enqueue(self, network_id: str, event: Event) -> None:
        """Hand an event to the network's worker; waits while a snapshot is taken, and while the queue is full."""
        await self._gate.wait()
        self._entering += 1
        try:
            queue = self._worker(network_id).queue
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                async with asyncio.timeout(QUEUE_WAIT_S):
                    await queue.put(event)
        except TimeoutError:
            log.error("a network's queue is full: event dropped, resync", network_id=network_id)
            self.schedule_resync(network_id)
        finally:
            self._entering -= 1

    def _worker(self, network_id: str) -> NetworkWorker:
        found = self._workers.get(network_id)
        if found is None:
            worker = NetworkWorker(network_id, self._context)
            task = self._own(worker.run())
            found = self._workers[network_id] = (worker, task)
            task.add_done_callback(lambda _: self._worker_done(network_id, worker))
        return found[0]

    def _worker_done(self, network_id: str, worker: NetworkWorker) -> None:
        found = self._workers.get(network_id)
        if found is None or found[0] is not worker or found[1].cancelled():
            return
        del self._workers[network_id]
        while not worker.queue.empty():  # came between the worker's last look and now
            self._worker(network_id).queue.put_nowait(worker.queue.get_nowait())
            worker.queue.task_done()

    def _make_driver(
        self, network_id: str, directory: Path, on_exchange: ExchangeCallback, on_exit: ExitCallback
    ) -> DhcpDriver:
        assert self._watch is not None
        ensure_instances(len(self._workers))
        config = self._config or DnsmasqConfig("", "", "", self._settings.dhcp_lease_duration_s, "")
        return Dnsmasq(directory, config, self._watch, on_exchange, on_exit)

    # -- synchronisation ---------------------------------------------------------------------------------------

    def schedule_resync(self, network_id: str) -> None:
        """Have the network fetched and converged soon; later and later while that keeps being asked for."""
        self._resync.want(network_id, time.monotonic())
        self._resync_wanted.set()

    def schedule_resync_all(self) -> None:
        """Have everything fetched and converged at once."""
        self._resync.want(None, time.monotonic(), at_once=True)
        self._resync_wanted.set()

    async def _synchronise(self) -> None:
        """Take a snapshot of all networks, and have the workers converge to it. Raises BusError, TimeoutError."""
        async with self._sync_lock, asyncio.timeout(SYNC_TIMEOUT_S):
            self._gate.clear()
            try:
                await self._workers_idle()
                told, malformed = await self._plugin.get_active_networks_info()
                infos = {info.id: info for info in told}
                known = {*self._known_directories(), *(network.id for network in self.cache.networks())} - malformed
                slots = asyncio.Semaphore(SYNC_NETWORKS_AT_ONCE)
                async with asyncio.TaskGroup() as group:
                    for network_id in sorted(known | infos.keys()):
                        group.create_task(self._converge(slots, network_id, Converge(infos.get(network_id))))
            finally:
                self._gate.set()
        log.info("synchronised", **self.cache.counts())

    async def _converge(self, slots: asyncio.Semaphore, network_id: str, event: Converge) -> None:
        async with slots:
            await self._worker(network_id).queue.put(event)
            await event.done.wait()

    async def _workers_idle(self) -> None:
        """Wait until everything that was told before is dealt with."""
        while True:
            busy = {worker for worker, _ in self._workers.values()}
            await asyncio.gather(*(worker.queue.join() for worker in busy))
            now = {worker for worker, _ in self._workers.values()}
            if not self._entering and now <= busy and all(worker.queue.empty() for worker in now):
                return
            await asyncio.sleep(0)

    async def _resync_loop(self) -> None:
        """Repeat what went wrong, when it is due."""
        while True:
            self._resync_wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._resync.wait_s(time.monotonic())):
                    await self._resync_wanted.wait()
            for key in self._resync.take(time.monotonic()):
                try:
                    if key is None:
                        await self._synchronise()
                    else:
                        await self._enqueue(key, Refresh())
                except Exception as error:
                    log.error("resync failed: trying again", network_id=key, error=str(error) or repr(error))
                    self._resync.want(key, time.monotonic())

    async def _check_loop(self) -> None:
        """Have every network look whether its devices and its server are still as they were made."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            for worker, _ in list(self._workers.values()):
                if worker.queue.empty():  # who has work to do finds out by itself
                    worker.queue.put_nowait(Check())

    # -- reports -----------------------------------------------------------------------------------------------

    def _configurations(self) -> dict[str, Any]:
        return {
            "dhcp_driver": "cove.dhcp.drivers.dnsmasq.Dnsmasq",
            "dhcp_lease_duration": self._settings.dhcp_lease_duration_s,
            "log_agent_heartbeats": False,
            **self.cache.counts(),
        }

    async def _report_loop(self) -> None:
        while True:
            await asyncio.sleep(self._settings.agent_report_interval_s)
            try:
                answer = await self._plugin.report_state(self._configurations(), start=False)
            except BusError as error:
                log.warning("report failed", error=str(error))
                continue
            if answer == "revived":
                log.warning("the server had taken this agent for dead: synchronising")
                self.schedule_resync_all()

    # -- small things ------------------------------------------------------------------------------------------

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=f"dhcp agent {getattr(work, '__name__', '')}")

    def _prepare_directories(self) -> None:
        """dnsmasq gives up its privileges and must still get at its own files: let it pass, not look."""
        files.ensure_directory(self._state_dir, mode=0o711)
        mode = self._settings.state_dir.stat().st_mode & 0o7777
        if not mode & 0o001:
            os.chmod(self._settings.state_dir, mode | 0o011)  # noqa: S103

    def _known_directories(self) -> list[str]:
        """The networks that this agent or one before it served: the only ones whose remains are ours to remove."""
        try:
            entries = sorted(os.listdir(self._state_dir))
        except FileNotFoundError:
            return []
        return [entry for entry in entries if _is_uuid(entry)]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _network_id(payload: dict[str, Any], resource: str | None, key: str) -> str:
    holder = payload if resource is None else payload.get(resource)
    if not isinstance(holder, dict) or not isinstance(holder.get(key), str):
        raise InvalidPayload(f"notification without {f'{resource}.' if resource else ''}{key}: {sorted(payload)}")
    return check_id(key, holder[key])
