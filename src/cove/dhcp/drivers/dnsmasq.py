"""The dnsmasq driver: DHCP and DNS for one network by one dnsmasq process in the network's namespace.

The hot path, a port that is added: one file is renamed into `hosts.d/`, dnsmasq's log says that it is in force.
No process is started, no file rewritten, no signal sent, whatever the number of ports. A removal releases the lease
at once and shares a reload with the others of the same second; an address that goes to another MAC reloads first.
"""

from __future__ import annotations

import asyncio
import functools
import grp
import pwd
import shutil
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from cove import tasks
from cove.dhcp.drivers import dnsmasq_args, hostfiles
from cove.dhcp.drivers.base import Exchange, ExchangeCallback, ExitCallback, PortChange, Served, ServedNetwork
from cove.dhcp.drivers.dnsmasq_files import FILE_MODE, SUBNETS, NetworkDirectory
from cove.dhcp.drivers.dnsmasq_log import FileRejected, LogEvent
from cove.dhcp.drivers.dnsmasq_process import DnsmasqProcess, find_running
from cove.dhcp.drivers.entries import EntryTable, Plan, Reload
from cove.dhcp.drivers.hostfiles import NO_ENTRIES, PortEntries
from cove.dhcp.drivers.lease_keeper import LeaseKeeper
from cove.dhcp.drivers.logwatch import LogWatch
from cove.dhcp.drivers.options import subnet_options
from cove.dhcp.errors import DriverError
from cove.dhcp.models import PortInfo
from cove.linux import files

log = structlog.get_logger(__name__)

RELOAD_INTERVAL_S = 1.0
RELOAD_DELAY_S = 0.2
READABLE_DELAY_S = 0.5
WRITES_INLINE_MAX = 16


@dataclass(frozen=True, slots=True)
class DnsmasqConfig:
    """What is the same for all networks of an agent."""

    program: str
    user: str
    group: str
    lease_duration_s: int
    domain: str

    @classmethod
    def detect(cls, *, lease_duration_s: int, domain: str) -> DnsmasqConfig:
        """Find the program, and the least privileged user there is for it. Raises DriverError."""
        program = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise DriverError("dnsmasq is not installed: run `apt-get install dnsmasq-base`")
        for user in ("dnsmasq", "nobody"):
            try:
                group_id = pwd.getpwnam(user).pw_gid
            except KeyError:
                continue
            return cls(program, user, grp.getgrgid(group_id).gr_name, lease_duration_s, domain)
        raise DriverError("neither user dnsmasq nor user nobody exists: add one for dnsmasq to run as")


class Dnsmasq:
    """A DhcpDriver. `directory` is `<state>/dhcp/<network id>`; the log watch is shared by all networks."""

    def __init__(
        self,
        directory: Path,
        config: DnsmasqConfig,
        watch: LogWatch,
        on_exchange: ExchangeCallback,
        on_exit: ExitCallback,
    ) -> None:
        self._directory = NetworkDirectory(directory)
        self._config = config
        self._watch = watch
        self._on_exchange = on_exchange
        self._on_exit = on_exit
        self._lock = asyncio.Lock()
        self._network: ServedNetwork | None = None
        self._process: DnsmasqProcess | None = None
        self._table = EntryTable()
        self._leases = LeaseKeeper(self._directory.leases, mode=FILE_MODE)
        self._subnet_options = ""
        self._rejected: dict[str, str] = {}
        self._refused: frozenset[str] = frozenset()
        self._uncertain = False  # a change was not confirmed: what dnsmasq has read must not be relied on
        self._reloaded_at = 0.0
        self._reload_task: asyncio.Task[None] | None = None
        self._readable_task: asyncio.Task[None] | None = None

    # -- DhcpDriver --------------------------------------------------------------------------------------------

    async def enable(self, network: ServedNetwork) -> None:
        """See DhcpDriver.enable."""
        async with self._lock:
            argv = self._argv(network)
            as_wanted = self._process is not None and self._process.is_as_wanted(argv, network.namespace)
            if as_wanted and not self._uncertain:
                self._network = network
                await self._leases.open(network)  # the device may be another one of the same name
                await self._apply(self._plan_everything())
                return
            self._drop_process()
            self._network = network
            await self._enable(network, argv)
            self._write_readable_later()

    async def restart(self, network: ServedNetwork) -> None:
        """See DhcpDriver.restart."""
        async with self._lock:
            await self._stop()
            self._network = network
            await self._enable(network, self._argv(network))
            self._write_readable_later()

    async def reload_allocations(self, network: ServedNetwork, changes: Sequence[PortChange] | None) -> None:
        """See DhcpDriver.reload_allocations."""
        async with self._lock:
            if self._process is None:
                raise DriverError(f"network {network.network_id} is not served: enable it first")
            self._network = network
            if changes is None:
                await self._apply(self._plan_everything())
            else:
                await self._apply(self._plan_changes(network, changes))

    async def disable(self) -> None:
        """See DhcpDriver.disable."""
        async with self._lock:
            await self._stop()
            await asyncio.to_thread(self._directory.remove)

    async def shutdown(self) -> None:
        """See DhcpDriver.shutdown."""
        async with self._lock:
            await self._stop()
            await asyncio.to_thread(self._directory.remove_run_time_files)

    async def close(self) -> None:
        """See DhcpDriver.close."""
        await self._cancel_tasks()
        self._drop_process()

    def refused_addresses(self) -> frozenset[str]:
        """See DhcpDriver.refused_addresses."""
        return self._refused

    def served(self) -> Served:
        """See DhcpDriver.served."""
        pid = self._process.pid if self._process is not None else None
        return Served(pid=pid, reservations=len(self._table), leases=len(self._leases))

    # -- the process -------------------------------------------------------------------------------------------

    def _argv(self, network: ServedNetwork) -> list[str]:
        return dnsmasq_args.arguments(
            self._config.program,
            self._directory.path,
            network,
            lease_duration_s=self._config.lease_duration_s,
            domain=self._config.domain,
            user=self._config.user,
            group=self._config.group,
        )

    async def _enable(self, network: ServedNetwork, argv: list[str]) -> None:
        """Files as wanted, then the process that runs if it is as wanted, else a new one."""
        self._table = EntryTable()
        self._table.replace(*self._wanted(network))
        self._table.reloaded()
        self._subnet_options = subnet_options(network, self._config.domain)
        await asyncio.to_thread(self._write_everything, network)
        await self._leases.open(network)
        self._process = DnsmasqProcess(self._directory, self._watch, self._on_log_event, self._on_exit)
        if await self._adopt(argv, network):
            return
        await self._stop_running()
        await asyncio.to_thread(self._leases.prune, self._table.owner)
        self._rejected.clear()
        self._reloaded_at = time.monotonic()
        await self._process.start(argv, network.namespace)
        self._uncertain = False
        self._note_refused()
        log.info("dnsmasq started", network_id=network.network_id, pid=self._process.pid, ports=len(network.ports))

    async def _adopt(self, argv: list[str], network: ServedNetwork) -> bool:
        assert self._process is not None
        if not self._process.adopt(argv, network.namespace):
            return False
        try:
            await self._leases.meet(self._table.owner)
            await self._reload()
        except (DriverError, TimeoutError) as error:
            log.warning("dnsmasq does not answer: starting another", network_id=network.network_id, error=str(error))
            await self._process.stop()
            return False
        log.info("dnsmasq adopted", network_id=network.network_id, pid=self._process.pid, leases=len(self._leases))
        return True

    async def _stop(self) -> None:
        await self._cancel_tasks()
        if self._process is not None:
            await self._process.stop()
        self._drop_process()
        await self._stop_running()

    async def _stop_running(self) -> None:
        """Stop whatever still serves our directory, such as what an earlier agent left."""
        while (process := await asyncio.to_thread(find_running, self._directory.path)) is not None:
            log.info("stopping another dnsmasq of the network", path=str(self._directory.path), pid=process.pid)
            await process.stop()
            process.close()

    def _drop_process(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None
        self._leases.close()

    # -- what is to be served ----------------------------------------------------------------------------------

    def _wanted(self, network: ServedNetwork) -> tuple[list[PortEntries], dict[str, str]]:
        subnets = {subnet.id: subnet for subnet in network.subnets}
        entries: list[PortEntries] = []
        options: dict[str, str] = {}
        for port in network.ports.values():
            entries.append(hostfiles.port_entries(port, subnets, self._config.domain))
            text = hostfiles.port_options(port)
            if text is not None:
                options[hostfiles.port_tag(port.id)] = text
        return entries, options

    def _plan_everything(self) -> Plan:
        assert self._network is not None
        plan = self._table.replace(*self._wanted(self._network))
        options = subnet_options(self._network, self._config.domain)
        if options != self._subnet_options:
            self._subnet_options = options
            plan.options[SUBNETS] = options
            plan.need(Reload.NOW)
        return plan

    def _plan_changes(self, network: ServedNetwork, changes: Sequence[PortChange]) -> Plan:
        subnets = {subnet.id: subnet for subnet in network.subnets}
        domain = self._config.domain

        def entries_of(port: PortInfo | None) -> PortEntries:
            return NO_ENTRIES if port is None else hostfiles.port_entries(port, subnets, domain)

        first: dict[str, PortInfo | None] = {}
        last: dict[str, PortInfo | None] = {}
        for change in changes:
            port = change.after or change.before
            if port is not None:
                first.setdefault(port.id, change.before)
                last[port.id] = change.after
        options = {
            hostfiles.port_tag(port_id): None if port is None else hostfiles.port_options(port)
            for port_id, port in last.items()
        }
        return self._table.change(
            [entries_of(port) for port in first.values()],
            [entries_of(port) for port in last.values()],
            options=options,
        )

    # -- bringing it in force ----------------------------------------------------------------------------------

    async def _apply(self, plan: Plan) -> None:
        if plan.is_empty():
            return
        assert self._process is not None
        self._uncertain = True
        self._write_readable_later()
        many = len(plan.hosts) + len(plan.names) + len(plan.options) > WRITES_INLINE_MAX
        self._rejected.clear()
        if many:
            await asyncio.to_thread(self._directory.write_plan, plan)
        else:
            self._directory.write_plan(plan)
        await self._leases.release(plan.released)
        if plan.reload is Reload.NOW:
            await self._reload()
            await self._leases.ensure_released(plan.reserved, self._process.barrier)
        elif any(text is not None for text in [*plan.hosts.values(), *plan.names.values(), *plan.options.values()]):
            await self._process.barrier()
            if any(str(self._directory.hosts / name) in self._rejected for name in plan.hosts):
                log.warning("dnsmasq refused a reservation: reloading", rejected=dict(self._rejected))
                await self._reload()
        self._uncertain = False
        if plan.reload is Reload.LATER:
            self._reload_later()

    async def _reload(self) -> None:
        assert self._process is not None
        self._rejected.clear()
        self._reloaded_at = time.monotonic()
        self._uncertain = True
        await self._process.reload()
        self._uncertain = False
        self._table.reloaded()
        self._note_refused()

    def _note_refused(self) -> None:
        """Which reservations dnsmasq does not serve, after it has read everything.

        A file that it came upon twice, by the reload and by its change, is a duplicate of itself: no matter.
        """
        refused = {
            Path(path).name: reason
            for path, reason in self._rejected.items()
            if Path(path).parent == self._directory.hosts and not reason.startswith("duplicate")
        }
        entries = [entry for name in refused if (entry := self._table.by_key(name)) is not None]
        self._refused = frozenset(address for entry in entries for address in entry.ip_addresses)
        if refused:
            log.error("dnsmasq refused reservations", path=str(self._directory.hosts), refused=refused)

    # -- what can wait -----------------------------------------------------------------------------------------

    def _reload_later(self) -> None:
        if self._reload_task is None or self._reload_task.done():
            self._reload_task = self._start(self._reload_when_due())

    async def _reload_when_due(self) -> None:
        wanted_at = time.monotonic()
        due = max(wanted_at + RELOAD_DELAY_S, self._reloaded_at + RELOAD_INTERVAL_S)
        await asyncio.sleep(due - time.monotonic())
        async with self._lock:
            if self._process is None or self._reloaded_at > wanted_at:
                self._reload_task = None  # stopped, or a reload has come in between
                if self._process is not None and self._table.has_stale():
                    self._reload_later()
                return
            self._reload_task = None
            await self._reload()

    def _write_readable_later(self) -> None:
        if self._readable_task is None or self._readable_task.done():
            self._readable_task = self._start(self._write_readable())

    async def _write_readable(self) -> None:
        await asyncio.sleep(READABLE_DELAY_S)
        self._readable_task = None  # a change from here on needs another round
        if self._network is not None:
            entries, names, options = self._table.entries(), self._table.names(), self._table.options()
            write = self._directory.write_readable
            await asyncio.to_thread(write, entries, names, self._subnet_options, options)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"dnsmasq {self._directory.path.name}")
        task.add_done_callback(functools.partial(_report, self._on_exit))
        return task

    async def _cancel_tasks(self) -> None:
        ending = (self._reload_task, self._readable_task)
        self._reload_task = self._readable_task = None
        await tasks.end(ending)

    # -- log and files -----------------------------------------------------------------------------------------

    def _on_log_event(self, event: LogEvent) -> None:
        if isinstance(event, Exchange):
            self._leases.follow(event, self._table.owner)
            self._on_exchange(event)
        elif isinstance(event, FileRejected):
            self._rejected[event.path] = event.reason
            if Path(event.path).parent == self._directory.options:
                log.warning("dnsmasq refused an option", path=event.path, line=event.line, reason=event.reason)

    def _write_everything(self, network: ServedNetwork) -> None:
        directory, table = self._directory, self._table
        directory.prepare()
        directory.synchronise(directory.options, {**table.options(), SUBNETS: self._subnet_options})
        directory.synchronise(directory.hosts, {entry.key: f"{entry.reservation}\n" for entry in table.entries()})
        directory.synchronise(directory.names, {address: f"{line}\n" for address, line in table.names().items()})
        files.write_atomic(directory.interface, network.interface, mode=FILE_MODE)


def _report(on_exit: ExitCallback, task: asyncio.Task[None]) -> None:
    """A background step failed: have the network looked after as if its server had ended."""
    if not task.cancelled() and task.exception() is not None:
        log.error("dnsmasq: a delayed step failed", error=str(task.exception()))
        on_exit()
