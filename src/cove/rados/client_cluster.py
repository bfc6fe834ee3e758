"""ClusterCalls: what a client asks and changes about the cluster as a whole, and about its own place in it.

Source: Ceph's librados (`rados_cluster_stat`, `_blocklist_add`, `_getaddrs`, `_service_register`, `_monitor_log2`, …).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from typing import cast

from ..messenger import TcpMessenger
from ..wire.address import AddrVec, plain_text
from ..wire.compat import is_blocklisted, min_compat_client
from ..wire.messages import MStatfs, MStatfsReply
from .client_pools import PoolCalls
from .errors import InOutError, InvalidArgument, NotConnected, TimedOut
from .monitor_log import LogCallback
from .stats import ClusterStat

BLOCKLIST_WORDS = ("blocklist", "blacklist")
"""What monitors call it since Pacific, and before."""


class ClusterCalls(PoolCalls):
    """The part of a client that is about the cluster."""

    async def cluster_stat(self) -> ClusterStat:
        """How full the cluster is."""
        fsid = self.fsid
        answer = await self._ask_monitor("cluster stat", lambda tid: MStatfs(tid=tid, fsid=fsid))
        reply = cast("MStatfsReply", answer)
        return ClusterStat(reply.kb, reply.kb_used, reply.kb_avail, reply.num_objects)

    async def wait_for_latest_map(self, timeout_s: float = 30.0) -> None:
        """Have the map that was the newest when this was called. Raises TimedOut."""
        await self.objecter.wait_for_latest_map(timeout_s)

    def set_epoch_barrier(self, epoch: int) -> None:
        """Send nothing more by OSD maps older than this: for those who know of a change that others rely on, e.g. of
        a client that was shut out at that epoch. It can only grow; what is in flight goes on."""
        self.objecter.set_epoch_barrier(epoch)

    async def inconsistent_pgs(self, pool: int) -> list[str]:
        """The placement groups of a pool in which scrubbing has found errors. Raises ObjectNotFound."""
        self.pool(pool)
        command = {"prefix": "pg ls", "pool": pool, "states": ["inconsistent"], "format": "json"}
        answer = (await self.mgr_command(command)).check().json()
        stats = answer.get("pg_stats", []) if isinstance(answer, dict) else answer
        try:
            return [str(stat["pgid"]) for stat in stats]
        except (KeyError, TypeError):
            raise InOutError("pg ls: the manager's answer has no pgid") from None

    # releases

    @property
    def min_compatible_osd(self) -> int:
        """The oldest release (16 is Pacific) of which an OSD may take part."""
        return self.osdmap.osd_only.require_osd_release

    @property
    def min_compatible_client(self) -> tuple[int, int]:
        """The oldest release whose clients can use the map as it is, and the oldest that is demanded (0: none)."""
        osdmap = self.osdmap
        return min_compat_client(osdmap), osdmap.osd_only.require_min_compat_client

    # ourselves

    @property
    def addrs(self) -> AddrVec:
        """The addresses by which the cluster knows this client instance; none where the transport has no network."""
        messenger = self.monclient.messenger
        return messenger.my_addrs if isinstance(messenger, TcpMessenger) else ()

    @property
    def addresses(self) -> str:
        """The same as text, in librados' form, which `blocklist_add` takes: `127.0.0.1:0/1234`."""
        return plain_text(self.addrs)

    @property
    def is_blocklisted(self) -> bool:
        """Whether our map says that this client instance is shut out. Only a new client helps then."""
        osd_only = self.osdmap.osd_only
        return any(is_blocklisted(addr, osd_only.blocklist, osd_only.range_blocklist) for addr in self.addrs)

    async def wait_until_blocklisted(self, timeout_s: float) -> None:
        """Wait until our map says that this client instance is shut out. Raises TimedOut."""
        objecter = self.objecter
        try:
            async with asyncio.timeout(timeout_s):
                while not self.is_blocklisted:
                    await objecter.wait_for_map(objecter.epoch + 1, timeout_s)
        except (TimeoutError, TimedOut):
            raise TimedOut(f"this client was not blocklisted within {timeout_s:g} s", errno=errno.ETIMEDOUT) from None

    async def blocklist_add(self, address: str, expire_s: float = 0) -> None:
        """Shut a client instance out: its operations fail with Blocklisted from now on; `address` is what its
        `addresses` says. `expire_s` 0: for as long as the cluster does by default (an hour).

        Returns once our map has it. Raises InvalidArgument, PermissionDenied, OutcomeUnknown.
        """
        if expire_s < 0:
            raise InvalidArgument(f"blocklist {address!r}: expire_s={expire_s} is below 0")
        for word in BLOCKLIST_WORDS:
            command: dict[str, object] = {"prefix": f"osd {word}", f"{word}op": "add", "addr": address}
            if expire_s:
                command["expire"] = float(expire_s)
            result = await self.mon_command(command)
            if result.result != -errno.EINVAL:
                break  # else it may not know the word
        result.check()
        await self.objecter.wait_for_latest_map(self.conf.mon_op_timeout_s)

    # service daemon and log

    async def service_daemon_register(self, service: str, daemon: str, metadata: Mapping[str, str]) -> None:
        """Show this client in `ceph status` and `ceph service dump` as a daemon of a service, until it is shut down.

        Also before `connect`. `metadata` is added to facts about this host. Raises InvalidArgument, ObjectExists (this
        client is one already).
        """
        self.service_daemon.register(service, daemon, metadata)
        if self._mgrclient is not None:
            self._mgrclient.start()

    async def service_daemon_update(self, status: Mapping[str, str]) -> None:
        """Replace the status of this service daemon; the manager is told with the next report, in some seconds.

        Raises NotConnected (not connected, or not registered), InvalidArgument.
        """
        if self._mgrclient is None:
            raise NotConnected(f"{self.name} is not connected; call connect() first")
        self.service_daemon.update(status)

    def monitor_log(self, level: str, callback: LogCallback | None) -> None:
        """Have lines of the cluster's log of a level (debug, info, sec, warn, error) or above passed to `callback`, a
        plain function that must not block; None ends it. One callback a client: another one takes its place.

        Raises InvalidArgument.
        """
        self.log_watch.watch(level, callback)
