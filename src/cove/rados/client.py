"""Rados: the client of one cluster; it owns messenger, MonClient and Objecter, and opens io contexts.

    async with Rados("ceph.conf", name="client.admin") as cluster:
        async with cluster.open_ioctx("rbd") as ioctx:
            await ioctx.write_full("greeting", b"hello")

Source: Ceph's librados (names and meaning); its RadosClient.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

import structlog

from ..messenger import Connection, Dispatcher, Messenger
from ..wire.messages import (
    Message,
    MGetPoolStats,
    MGetPoolStatsReply,
    MOSDMap,
    MPoolOp,
    MPoolOpReply,
    MStatfs,
    MStatfsReply,
    PoolOpCode,
)
from ..wire.osdmap import OSDMap
from .cephconf import load_conf
from .commands import Command, CommandResult
from .conf import RadosConf
from .errors import (
    InvalidArgument,
    NotConnected,
    ObjectExists,
    ObjectNotFound,
    PermissionDenied,
    TimedOut,
    make_error,
)
from .ioctx import IoCtx
from .mgrclient import MgrClient
from .monclient import MonClient
from .objecter import Objecter
from .stats import ClusterStat, PoolStats, pool_stats_of
from .transport import CephTransport, Transport

log = structlog.get_logger(__name__)

POOL_NAME_BYTES_MAX = 250
POOLS_NAMED_MAX = 20
"""How many pools an error lists."""
DELETE_WORD = "delete"
"""What a request to delete a pool carries instead of its name."""

Path = str | os.PathLike[str]


class Rados(Dispatcher):
    """A client. All methods are to be called on the event loop on which `connect` ran."""

    def __init__(
        self,
        cluster: Path | Mapping[str, str] | Transport | None = None,
        *,
        name: str | None = None,
        keyring: Path | None = None,
        key: str | None = None,
        conf: RadosConf | None = None,
    ) -> None:
        """`cluster`: the path of a ceph.conf, options as in one (`{"mon_host": ..., "key": ...}`), a `Transport`, or
        None: CEPH_CONF, CEPH_ARGS, /etc/ceph/ceph.conf. Files are read here; nothing is connected yet.

        `name` (client.admin), `keyring` (a file) and `key` (base64) go before what the options say; `conf` has the
        time-outs and limits, by default those of the options. Raises InvalidArgument, ObjectNotFound (no file).
        """
        if cluster is None or isinstance(cluster, (str, os.PathLike, Mapping)):
            cluster = CephTransport(load_conf(cluster, name=name, keyring=keyring, key=key))
        elif keyring is not None or key is not None:
            raise InvalidArgument("keyring and key go with a ceph.conf or options; a transport knows who it is")
        self.transport: Transport = cluster
        self.name = name or cluster.name
        kind, _, who = self.name.partition(".")
        if kind != "client" or not who:
            raise InvalidArgument(f"name={self.name!r}: must be client.NAME, e.g. client.admin")
        self.conf = conf or cluster.conf
        self._messenger: Messenger | None = None
        self._monclient: MonClient | None = None
        self._mgrclient: MgrClient | None = None
        self._objecter: Objecter | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()

    async def connect(self, timeout_s: float | None = None) -> None:
        """Log in at a monitor and get the first map, within `timeout_s` (by default `conf.connect_timeout_s`, 30 s).

        Raises TimedOut, which tells how it went with each monitor; PermissionDenied if they refuse who we are.
        """
        if self._messenger is not None:
            raise InvalidArgument(f"{self.name} is connected already")
        loop = asyncio.get_running_loop()
        timeout_s = self.conf.connect_timeout_s if timeout_s is None else timeout_s
        deadline = loop.time() + timeout_s
        auth = self.transport.create_auth()
        messenger = self._messenger = self.transport.create_messenger(auth)
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    monitors = await self.transport.find_monitors()
            except TimeoutError:
                raise TimedOut("the addresses of the monitors were not known by then; check DNS") from None
            monclient = self._monclient = MonClient(messenger, monitors, auth, self.transport.mon_conf)
            mgrclient = self._mgrclient = MgrClient(messenger, monclient)
            objecter = self._objecter = Objecter(messenger, monclient, self.conf)
            for dispatcher in (monclient, objecter, mgrclient, self):
                messenger.add_dispatcher_tail(dispatcher)
            monclient.start()
            await monclient.authenticate(deadline - loop.time())
            objecter.start()
            try:
                await objecter.wait_for_map(1, max(deadline - loop.time(), 0.0))
            except TimedOut as problem:
                raise TimedOut(f"{problem}; {monclient.hunt.report()}") from None
        except BaseException as problem:
            await self.shutdown()
            if isinstance(problem, TimedOut):
                raise TimedOut(
                    f"{self.name}: no connection to the cluster within {timeout_s:g} s: {problem}",
                    errno=errno.ETIMEDOUT,
                ) from None
            raise

    async def shutdown(self) -> None:
        """Fail what is in flight and close all connections. Twice is no error."""
        objecter, self._objecter = self._objecter, None
        mgrclient, self._mgrclient = self._mgrclient, None
        monclient, self._monclient = self._monclient, None
        messenger, self._messenger = self._messenger, None
        if objecter is not None:
            objecter.shutdown()
        if mgrclient is not None:
            mgrclient.shutdown()
        if monclient is not None:
            monclient.shutdown()
        if messenger is not None:
            await messenger.shutdown()

    @property
    def objecter(self) -> Objecter:
        """The Objecter. Raises NotConnected."""
        if self._objecter is None:
            raise NotConnected(f"{self.name} is not connected; call connect() first")
        return self._objecter

    @property
    def osdmap(self) -> OSDMap:
        """The newest map we have. Raises NotConnected."""
        osdmap = self.objecter.osdmap
        if osdmap is None:
            raise NotConnected(f"{self.name} has no OSD map yet; call connect() first")
        return osdmap

    @property
    def fsid(self) -> UUID:
        """The cluster's id."""
        return self.osdmap.fsid

    @property
    def monclient(self) -> MonClient:
        """The session with a monitor. Raises NotConnected."""
        if self._monclient is None:
            raise NotConnected(f"{self.name} is not connected; call connect() first")
        return self._monclient

    @property
    def global_id(self) -> int:
        """Our number in the cluster: others see us as client.NUMBER. Raises NotConnected."""
        return self.monclient.messenger.name.number

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Last in the chain: maps end here, after the Objecter has seen them."""
        return isinstance(message, MOSDMap)

    # pools

    def open_ioctx(self, pool: str) -> IoCtx:
        """An io context for a pool: `async with`, or `await`, which raise ObjectNotFound if there is no such pool."""
        return IoCtx(self, pool)

    def pool_list(self) -> list[str]:
        """Names of the pools, in the order of their numbers."""
        return [name for _, name in sorted(self.osdmap.pool_names.items())]

    async def pool_lookup(self, name: str) -> int:
        """Number of a pool. Raises ObjectNotFound, after asking for the newest map."""
        number = self.osdmap.pool_id(name)
        if number is None:
            await self.objecter.wait_for_latest_map(self.conf.mon_op_timeout_s)
            number = self.osdmap.pool_id(name)
        if number is None:
            pools = self.pool_list()
            known = ", ".join(pools[:POOLS_NAMED_MAX]) or "none"
            more = f" and {len(pools) - POOLS_NAMED_MAX} more" if len(pools) > POOLS_NAMED_MAX else ""
            raise ObjectNotFound(
                f"pool {name!r}: there is no such pool [ENOENT]: the pools are: {known}{more}; check the name, or "
                "create it with pool_create()",
                errno=errno.ENOENT,
                operation=f"look up pool {name!r}",
            )
        return number

    async def pool_create(self, name: str, **options: Any) -> int:
        """Create a pool and return its number, once our map has it.

        Without options it is what the cluster makes by default; options are those of the command `osd pool create`,
        e.g. `pg_num=32`, `pool_type="erasure"`, `erasure_code_profile="..."`, `rule="..."`, `size=2`.
        Raises ObjectExists, PermissionDenied, OutcomeUnknown.
        """
        raw = name.encode("utf-8", "surrogateescape")
        if not raw or len(raw) > POOL_NAME_BYTES_MAX or any(byte < 0x20 or byte == 0x7F for byte in raw):
            raise InvalidArgument(
                f"pool name {name!r}: must have 1 to {POOL_NAME_BYTES_MAX} bytes and no control characters"
            )
        if self.osdmap.pool_id(name) is not None:
            raise ObjectExists(
                f"create pool {name!r}: there is one of that name [EEXIST]; use it, or choose another name",
                errno=errno.EEXIST,
                operation=f"create pool {name!r}",
            )
        if options:
            (await self.mon_command({"prefix": "osd pool create", "pool": name, **options})).check()
        else:
            # every monitor knows this request, and asks for no more than the capability to write to the OSD map
            await self.pool_op(f"create pool {name!r}", 0, PoolOpCode.CREATE, name)
        return await self.pool_lookup(name)

    async def pool_delete(self, name: str) -> None:
        """Delete a pool with all its objects. Raises ObjectNotFound, PermissionDenied, OutcomeUnknown."""
        number = await self.pool_lookup(name)
        try:
            await self.pool_op(f"delete pool {name!r}", number, PoolOpCode.DELETE, DELETE_WORD)
        except PermissionDenied as problem:
            if problem.errno != errno.EPERM:
                raise
            raise PermissionDenied(
                f"delete pool {name!r}: the monitors do not allow it [EPERM]: allow it with `ceph config set mon "
                "mon_allow_pool_delete true`, and take the flag nodelete off the pool if it has it",
                errno=errno.EPERM,
                operation=problem.operation,
            ) from None

    async def pool_op(self, what: str, pool: int, code: PoolOpCode, name: str = "", snapid: int = 0) -> MPoolOpReply:
        """A change of pools or their snapshots by the monitors; returns once our map has it.

        Raises the Error of a refusal, TimedOut (not sent), OutcomeUnknown (sent, and not answered).
        """
        make = functools.partial(_pool_op_message, self.fsid, pool, code, name, snapid)
        reply = cast("MPoolOpReply", await self._ask_monitor(what, make, changes=True))
        if reply.reply_code < 0:
            raise make_error(reply.reply_code, operation=what)
        await self.objecter.wait_for_map(reply.epoch, self.conf.mon_op_timeout_s)
        return reply

    # the cluster

    async def _ask_monitor(self, what: str, make: Callable[[int], Message], *, changes: bool = False) -> Message:
        return await self.objecter.mon_requests.ask(what, make, self.conf.mon_op_timeout_s, changes=changes)

    async def cluster_stat(self) -> ClusterStat:
        """How full the cluster is."""
        fsid = self.fsid
        answer = await self._ask_monitor("cluster stat", lambda tid: MStatfs(tid=tid, fsid=fsid))
        reply = cast("MStatfsReply", answer)
        return ClusterStat(reply.kb, reply.kb_used, reply.kb_avail, reply.num_objects)

    async def pool_stats(self, names: Sequence[str] | None = None) -> dict[str, PoolStats]:
        """How full pools are (None: all). Raises ObjectNotFound for one that does not exist."""
        fsid, wanted = self.fsid, self.pool_list() if names is None else list(names)
        for name in wanted:
            await self.pool_lookup(name)
        answer = await self._ask_monitor("pool stats", lambda tid: MGetPoolStats(tid=tid, fsid=fsid, pools=wanted))
        reply = cast("MGetPoolStatsReply", answer)
        return {name: pool_stats_of(stat, reply.per_pool) for name, stat in reply.stats.items()}

    async def mon_command(
        self, command: Command, inbuf: bytes = b"", *, timeout_s: float | None = None
    ) -> CommandResult:
        """A command for the monitors, e.g. `{"prefix": "status", "format": "json"}`; `inbuf` is its input file.

        The result may be an error of the command: `check()` raises it. After a lost session the command is sent again.
        Raises InvalidArgument, TimedOut (not sent), OutcomeUnknown (sent, and not answered).
        """
        timeout_s = self.conf.mon_op_timeout_s if timeout_s is None else timeout_s
        return await self.monclient.mon_command(self.fsid, command, inbuf, timeout_s)

    async def mgr_command(
        self, command: Command, inbuf: bytes = b"", *, timeout_s: float | None = None
    ) -> CommandResult:
        """A command for the active manager, e.g. `{"prefix": "pg stat"}`; the same as `mon_command` otherwise."""
        if self._mgrclient is None:
            raise NotConnected(f"{self.name} is not connected; call connect() first")
        timeout_s = self.conf.mon_op_timeout_s if timeout_s is None else timeout_s
        return await self._mgrclient.command(self.fsid, command, inbuf, timeout_s)

    async def wait_for_latest_map(self, timeout_s: float = 30.0) -> None:
        """Have the map that was the newest when this was called. Raises TimedOut."""
        await self.objecter.wait_for_latest_map(timeout_s)


def _pool_op_message(fsid: UUID, pool: int, code: PoolOpCode, name: str, snapid: int, tid: int) -> Message:
    return MPoolOp(tid=tid, fsid=fsid, pool=pool, op=code, name=name, snapid=snapid)
