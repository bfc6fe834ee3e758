"""One network's worker: takes the network's events in order and keeps its DHCP server in step with them.

Whatever waits in the queue is taken together, so that port events that came while one was being brought in force
share the next round. What to do comes from cove.dhcp.decisions; a failure asks the agent for a resync.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from cove.bus import BusError, RemoteError
from cove.dhcp import decisions, devices
from cove.dhcp.cache import CachedNetwork, NetworkCache
from cove.dhcp.decisions import Action, PortOwner
from cove.dhcp.drivers.base import DhcpDriver, Exchange, ExchangeCallback, ExitCallback, PortChange, ServedNetwork
from cove.dhcp.errors import DriverError
from cove.dhcp.models import DEVICE_ID_RESERVED, NetworkInfo, PortInfo, SubnetInfo, dhcp_device_id
from cove.dhcp.plugin_api import PluginApi
from cove.dhcp.ready import ReadyReporter
from cove.linux import files
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

QUEUE_EVENTS_MAX = 1024
BATCH_MAX = 64
RESTART_INTERVAL_S = 5.0
EXHAUSTED = "IpAddressGenerationFailure"
"""The server's error where a subnet has no address left."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """The network or one of its subnets changed, or something went wrong: fetch it and converge."""


@dataclass(frozen=True, slots=True)
class Converge:
    """The server told the network's state (None: not ours to serve); `done` is set afterwards."""

    info: NetworkInfo | None
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class NetworkDeleted:
    """The network is gone, or is no longer this agent's."""


@dataclass(frozen=True, slots=True)
class PortSet:
    """A port was created or updated."""

    port: PortInfo


@dataclass(frozen=True, slots=True)
class PortDeleted:
    """A port was deleted."""

    port_id: str


@dataclass(frozen=True, slots=True)
class ServerEnded:
    """The DHCP server ended by itself, or is in doubt."""


@dataclass(frozen=True, slots=True)
class Check:
    """Time to see whether what was made is still there."""


Event = Check | Refresh | Converge | NetworkDeleted | PortSet | PortDeleted | ServerEnded
DriverFactory = Callable[[str, Path, ExchangeCallback, ExitCallback], DhcpDriver]


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What the workers of an agent share."""

    host: str
    state_dir: Path
    lease_duration_s: int
    plugin: PluginApi
    cache: NetworkCache
    ready: ReadyReporter
    timeline: Timeline | None
    make_driver: DriverFactory
    schedule_resync: Callable[[str], None]


class NetworkWorker:
    """The worker of one network; the agent runs `run()` as a task and closes it."""

    def __init__(self, network_id: str, context: WorkerContext) -> None:
        self.network_id = network_id
        self.queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE_EVENTS_MAX)
        self.directory = context.state_dir / network_id
        self._context = context
        self._device_id = dhcp_device_id(context.host, network_id)
        self._driver: DhcpDriver | None = None
        self._served: ServedNetwork | None = None
        self._restarted_at = float("-inf")
        self._exhausted: frozenset[str] = frozenset()  # DHCP subnets that have no address left for the server

    def describe(self) -> dict[str, Any]:
        """What serves the network, for people; {} where nothing does."""
        if self._served is None or self._driver is None:
            return {}
        served = self._driver.served()
        return {
            "namespace": self._served.namespace,
            "interface": self._served.interface,
            "addresses": list(self._served.server_addresses),
            "pid": served.pid,
            "reservations": served.reservations,
            "leases": served.leases,
        }

    # -- the queue ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Handle events until there is nothing left to look after (the network is gone), or until cancelled."""
        while True:
            batch = [await self.queue.get()]
            while len(batch) < BATCH_MAX and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            try:
                await self._handle(batch)
            except (DriverError, BusError, OSError, TimeoutError) as error:
                log.error("network not in step", network_id=self.network_id, error=str(error) or repr(error))
                self._context.schedule_resync(self.network_id)
            except Exception:
                log.exception("network not in step", network_id=self.network_id)
                self._context.schedule_resync(self.network_id)
            finally:
                for event in batch:
                    if isinstance(event, Converge):
                        event.done.set()
                    self.queue.task_done()
            if self.queue.empty() and self.is_idle():
                return

    def is_idle(self) -> bool:
        """Whether nothing is served and nothing known."""
        unknown = self._context.cache.get(self.network_id) is None
        return unknown and self._driver is None and not self.directory.exists()

    async def _handle(self, batch: list[Event]) -> None:
        position = 0
        while position < len(batch):
            event = batch[position]
            position += 1
            if isinstance(event, PortSet | PortDeleted):
                ports = [event]
                while position < len(batch) and isinstance(following := batch[position], PortSet | PortDeleted):
                    ports.append(following)
                    position += 1
                await self._handle_ports(ports)
            elif isinstance(event, Refresh):
                while position < len(batch) and isinstance(batch[position], Refresh):
                    position += 1
                await self._refresh()
            elif isinstance(event, Converge):
                await self._converge(event.info)
            elif isinstance(event, NetworkDeleted):
                await self._forget()
            elif isinstance(event, Check):
                await self._check()
            else:
                await self._server_ended()

    # -- networks and subnets ----------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        try:
            info = await self._context.plugin.get_network_info(self.network_id)
        except RemoteError as error:
            if error.exc_type != "NetworkNotFound":
                raise
            info = None
        await self._converge(info)

    async def _converge(self, info: NetworkInfo | None) -> None:
        """refresh_dhcp_helper."""
        if info is None:
            await self._forget()
            return
        cached = self._context.cache.get(self.network_id)
        action = decisions.on_refresh(
            cached=cached is not None,
            admin_state_up=info.admin_state_up,
            cached_subnets=cached.servings() if cached is not None else (),
            subnets=info.servings(),
        )
        network = self._context.cache.put(info)
        log.debug("network refreshed", network_id=self.network_id, action=action.value)
        if action is Action.ENABLE or action is Action.RELOAD_ALLOCATIONS:
            await self._enable(network)
        elif action is Action.RESTART:
            await self._enable(network, restart=True)
        elif self._driver is not None or self.directory.exists():
            await self._disable()
        self._report_ready(network.ports.values())

    async def _enable(self, network: CachedNetwork, *, restart: bool = False) -> None:
        """Port, device and server as they should be, keeping what is; with `restart`, a new server."""
        subnets = network.dhcp_subnets()
        # The directory comes first and goes last: it is how a later agent knows what is ours.
        files.ensure_directory(self.directory, mode=0o755)
        port = await self._ensure_dhcp_port(network, subnets)
        present = {fixed.subnet_id for fixed in port.fixed_ips}
        self._exhausted = frozenset(subnet.id for subnet in subnets if subnet.id not in present)
        subnets = tuple(subnet for subnet in subnets if subnet.id in present)
        addresses = devices.server_addresses(port, subnets)
        await devices.plug(self.network_id, port, addresses, network.mtu, network.ports)
        self._served = ServedNetwork(
            network_id=self.network_id,
            mtu=network.mtu,
            subnets=subnets,
            ports=network.ports,
            namespace=devices.namespace_name(self.network_id),
            interface=devices.interface_name(port.id),
            server_addresses=addresses,
        )
        if self._driver is None:
            self._driver = self._context.make_driver(
                self.network_id, self.directory, self._on_exchange, self._on_server_exit
            )
        if restart:
            await self._driver.restart(self._served)
        else:
            await self._driver.enable(self._served)
        if self._exhausted:
            log.error("subnets without a free address for DHCP", network_id=self.network_id, ids=[*self._exhausted])
            self._context.schedule_resync(self.network_id)

    async def _check(self) -> None:
        """Somebody may have taken away what the kernel had; the server's end is told by itself."""
        network, served = self._context.cache.get(self.network_id), self._served
        if network is None or served is None or self._driver is None:
            return
        if await devices.is_plugged(self.network_id, served.interface, served.server_addresses):
            return
        log.warning("devices of the network are not as they were: repairing", network_id=self.network_id)
        await self._enable(network)

    async def _ensure_dhcp_port(self, network: CachedNetwork, subnets: tuple[SubnetInfo, ...]) -> PortInfo:
        """The agent's own port with an address in each subnet: found, adopted, updated or created.

        Where a subnet has none left, the port goes without it, so that the others are served. Raises DriverError if
        there is no port at all, BusError.
        """
        try:
            return await self._dhcp_port(network, subnets)
        except RemoteError as error:
            if error.exc_type != EXHAUSTED:
                raise
        port: PortInfo | None = None
        possible: tuple[SubnetInfo, ...] = ()
        for subnet in sorted(subnets, key=lambda subnet: not self._has_address(network, subnet)):
            try:
                port = await self._dhcp_port(network, (*possible, subnet))
                possible = (*possible, subnet)
            except RemoteError as error:
                if error.exc_type != EXHAUSTED:
                    raise
        if port is None:
            raise DriverError(f"network {self.network_id}: no subnet has an address left for the DHCP server")
        return port

    def _has_address(self, network: CachedNetwork, subnet: SubnetInfo) -> bool:
        port = network.port_by_device_id(self._device_id)
        return port is not None and any(fixed.subnet_id == subnet.id for fixed in port.fixed_ips)

    async def _dhcp_port(self, network: CachedNetwork, subnets: tuple[SubnetInfo, ...]) -> PortInfo:
        plugin = self._context.plugin
        wanted = {subnet.id for subnet in subnets}
        port = network.port_by_device_id(self._device_id) or network.port_by_device_id(DEVICE_ID_RESERVED)
        if port is None:
            made = await plugin.create_dhcp_port(
                self.network_id, network.project_id, self._device_id, [subnet.id for subnet in subnets]
            )
        else:
            present = {fixed.subnet_id for fixed in port.fixed_ips}
            if present == wanted and port.device_id == self._device_id:
                return port
            fixed_ips = [
                {"subnet_id": fixed.subnet_id, "ip_address": fixed.ip_address}
                for fixed in port.fixed_ips
                if fixed.subnet_id in wanted
            ]
            fixed_ips += [{"subnet_id": subnet_id} for subnet_id in sorted(wanted - present)]
            made = await plugin.update_dhcp_port(port.id, self.network_id, self._device_id, fixed_ips)
        if made is None:
            raise DriverError(f"network {self.network_id}: the server gave no DHCP port: it or a subnet is going")
        self._context.cache.put_port(made)
        return made

    async def _disable(self) -> None:
        """Serve nothing, and give the DHCP port back."""
        driver = self._driver or self._context.make_driver(
            self.network_id, self.directory, self._on_exchange, self._on_server_exit
        )
        self._driver, self._served, self._exhausted = None, None, frozenset()
        await driver.shutdown()
        await devices.unplug(self.network_id)
        try:
            await self._context.plugin.release_dhcp_port(self.network_id, self._device_id)
        except RemoteError as error:
            log.info("DHCP port not released", network_id=self.network_id, error=str(error))
        await driver.disable()
        log.info("network disabled", network_id=self.network_id)

    async def _forget(self) -> None:
        if self._driver is not None or self.directory.exists():
            await self._disable()
        self._context.cache.remove(self.network_id)

    async def _server_ended(self) -> None:
        network = self._context.cache.get(self.network_id)
        if self._driver is None or network is None:
            return
        now = time.monotonic()
        if now - self._restarted_at < RESTART_INTERVAL_S:
            self._context.schedule_resync(self.network_id)  # comes with a back-off
            return
        self._restarted_at = now
        await self._enable(network)
        log.info("DHCP server brought back", network_id=self.network_id, pid=self._driver.served().pid)

    # -- ports -------------------------------------------------------------------------------------------------

    async def _handle_ports(self, events: list[PortSet | PortDeleted]) -> None:
        """port_create_end, port_update_end, port_delete_end, many at once."""
        cache = self._context.cache
        network = cache.get(self.network_id)
        if network is None:
            for event in events:
                if isinstance(event, PortDeleted):
                    cache.remove_port(event.port_id)
            return
        changes: list[PortChange] = []
        new_addresses = lost = False
        for event in events:
            if isinstance(event, PortDeleted):
                gone = cache.remove_port(event.port_id)
                self._context.ready.discard(event.port_id)
                if gone is not None:
                    lost = lost or gone.device_id == self._device_id
                    changes.append(PortChange(gone, None))
                continue
            action = decisions.on_port(cache.classify_port(event.port), self._owner(event.port))
            if action is Action.NOTHING:
                continue
            changes.append(PortChange(cache.put_port(event.port), event.port))
            new_addresses = new_addresses or action is Action.RESTART
        if lost or (self._exhausted and any(change.after is None for change in changes)):
            # Somebody deleted the agent's own port, or gave an address back where it has none: see what is wanted now.
            await self._refresh()
        elif new_addresses:
            await self._enable(network, restart=True)
            self._report_ready(network.ports.values())
        elif changes:
            await self._reload_allocations(network, changes)

    def _owner(self, port: PortInfo) -> PortOwner:
        if port.device_id != self._device_id:
            return PortOwner.OTHER
        cached = self._context.cache.port(port.id)
        known = cached is not None and cached.addresses() == port.addresses()
        return PortOwner.OWN_SAME_IPS if known else PortOwner.OWN_NEW_IPS

    async def _reload_allocations(self, network: CachedNetwork, changes: list[PortChange]) -> None:
        action = decisions.on_reload(any_dhcp_subnet=bool(network.servings()) and network.admin_state_up)
        if action is Action.DISABLE:
            if self._driver is not None:
                await self._disable()
        elif self._driver is None or self._served is None:
            await self._refresh()  # it could not be served before: the change may be what was missing
            return
        else:
            await self._driver.reload_allocations(self._served, changes)
        ports = [change.after for change in changes if change.after is not None]
        self._report_ready([port for port in ports if port.id in network.ports], mark=action is not Action.DISABLE)

    def _report_ready(self, ports: Iterable[PortInfo], *, mark: bool = False) -> None:
        network = self._context.cache.get(self.network_id)
        if network is not None and not network.admin_state_up:
            return  # nobody answers for them before it is up again
        refused = self._driver.refused_addresses() if self._driver is not None else frozenset()
        for port in ports:
            if self._exhausted and any(fixed.subnet_id in self._exhausted for fixed in port.fixed_ips):
                continue
            if refused and any(fixed.ip_address in refused for fixed in port.fixed_ips):
                continue
            if mark or self._is_awaited(port.id):
                self._mark(port.id, "host_entry")
            self._context.ready.add([port.id])

    def _is_awaited(self, port_id: str) -> bool:
        """Whether someone follows this port and has not seen its host entry: it came with the whole network."""
        if self._driver is None or self._context.timeline is None:
            return False
        steps = self._context.timeline.steps(port_id)
        return bool(steps) and all(step.name != "host_entry" for step in steps)

    def _mark(self, port_id: str, step: str, **detail: Any) -> None:
        if self._context.timeline is not None:
            self._context.timeline.mark(port_id, step, **detail)

    # -- told by the driver ------------------------------------------------------------------------------------

    def _on_exchange(self, exchange: Exchange) -> None:
        network = self._context.cache.get(self.network_id)
        port: PortInfo | None = None
        if network is not None:
            port = network.port_by_mac(exchange.mac_address)
            if port is None and exchange.ip_address is not None:  # a DHCPv6 client need not tell its MAC
                port = network.port_by_address(exchange.ip_address)
        if port is None:
            return
        detail: dict[str, Any] = {"ip_address": exchange.ip_address, "mac_address": port.mac_address}
        if exchange.gives_lease:
            detail["lease_s"] = self._context.lease_duration_s
        self._mark(port.id, exchange.kind, **detail)

    def _on_server_exit(self) -> None:
        try:
            self.queue.put_nowait(ServerEnded())
        except asyncio.QueueFull:
            self._context.schedule_resync(self.network_id)

    # -- the end -----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let go of the server, which runs on."""
        if self._driver is not None:
            await self._driver.close()
            self._driver = None

    async def shutdown(self) -> None:
        """Stop the server and remove the device; the leases stay for the next start, and so does the DHCP port."""
        driver = self._driver or self._context.make_driver(
            self.network_id, self.directory, self._on_exchange, self._on_server_exit
        )
        self._driver = None
        await driver.shutdown()
        await devices.unplug(self.network_id)
