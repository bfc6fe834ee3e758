"""What a handle asks of the cluster: pools, commands, statistics, its log.

Source: Ceph's pybind/rados (`Rados`), librados.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ...wire.messages import PoolOpCode
from ..client import Rados as Client
from ..commands import CommandResult
from ..errors import Error as ClientError
from ..errors import ObjectNotFound as ClientNotFound
from ..errors import make_error
from ..monitor_log import LogLine
from . import runtime
from .checks import check, check_str, integer, wrong_type
from .constants import MONITOR_LEVELS
from .errors import LogicError, RadosStateError, make_ex

if TYPE_CHECKING:
    from .ioctx import Ioctx
    from .session import Session

T = TypeVar("T")

CommandReply = tuple[int, bytes, str]
POOL_NAME_MAX = 4096


class ClusterCalls(ABC):
    """Calls of a connected handle. All raise RadosStateError, TypeError, and `Error` with the cluster's number."""

    state: str
    rados_id: str | None
    monitor_callback: Any
    monitor_callback2: Any

    @abstractmethod
    def session(self) -> Session:
        """The connection."""

    def require_state(self, *args: str) -> None:
        """Raises RadosStateError unless the state is one of these."""
        if self.state not in args:
            raise RadosStateError(f"You cannot perform that operation on a Rados object in state {self.state}.")

    def _ask(self, message: str, make: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Run a call of the client; its errors become those of this module."""
        session = self.session()
        try:
            return session.run(lambda: make(session.client))
        except ClientError as problem:
            raise make_ex(problem.errno, message) from problem

    # the cluster

    def get_addrs(self) -> str:
        """The addresses by which the cluster knows this client, for `blocklist_add`."""
        self.require_state("configuring", "connected")
        if self.state == "configuring":
            return "-"
        return self._ask("error calling getaddrs", _value(lambda client: client.addresses))

    def get_instance_id(self) -> int:
        """This client's number in the cluster."""
        self.require_state("connected")
        return self._ask("error getting the instance id", _value(lambda client: client.global_id))

    def get_fsid(self) -> str:
        """The cluster's id."""
        self.require_state("connected")
        return self._ask("error getting cluster fsid", _value(lambda client: str(client.fsid)))

    def get_cluster_stats(self) -> dict[str, int]:
        """`kb`, `kb_used`, `kb_avail` (KiB) and `num_objects` of the whole cluster, some seconds old."""
        self.require_state("connected")
        found = self._ask(
            f"Rados.get_cluster_stats({self.rados_id}): get_stats failed", lambda client: client.cluster_stat()
        )
        return {
            "kb": found.kb,
            "kb_used": found.kb_used,
            "kb_avail": found.kb_avail,
            "num_objects": found.num_objects,
        }

    def wait_for_latest_osdmap(self) -> int:
        """Have the newest OSD map. Returns 0, or a negative error number."""
        self.require_state("connected")
        session = self.session()
        try:
            session.run(lambda: session.client.wait_for_latest_map(session.client.conf.mon_op_timeout_s))
        except ClientError as problem:
            return -problem.errno
        return 0

    def blocklist_add(self, client_address: str, expire_seconds: int = 0) -> None:
        """Shut a client out; `expire_seconds` 0: for as long as the cluster does by default (an hour)."""
        self.require_state("connected")
        check_str(client_address=client_address)
        seconds = integer(expire_seconds)
        self._ask(
            f"error blocklisting client '{client_address}'",
            lambda client: client.blocklist_add(client_address, seconds),
        )

    def blacklist_add(self, client_address: str, expire_seconds: int = 0) -> None:
        """The name of `blocklist_add` in releases before 16."""
        self.blocklist_add(client_address, expire_seconds)

    # pools

    def list_pools(self) -> list[str]:
        """Names of the pools, in the order of their numbers."""
        self.require_state("connected")
        return self._ask("error listing pools", _value(lambda client: client.pool_list()))

    def pool_exists(self, pool_name: str) -> bool:
        """Whether there is such a pool."""
        return self.pool_lookup(pool_name) is not None

    def pool_lookup(self, pool_name: str) -> int | None:
        """A pool's number; None if there is no such pool."""
        self.require_state("connected")
        check_str(pool_name=pool_name)

        async def look(client: Client) -> int | None:
            try:
                return await client.pool_lookup(pool_name)
            except ClientNotFound:
                return None

        return self._ask(f"error looking up pool '{pool_name}'", look)

    def pool_reverse_lookup(self, pool_id: int) -> str | None:
        """A pool's name; None if there is no pool of that number."""
        self.require_state("connected")
        number = integer(pool_id)

        async def look(client: Client) -> str | None:
            try:
                return await client.pool_reverse_lookup(number)
            except ClientNotFound:
                return None

        return self._ask(f"error reverse looking up pool '{pool_id}'", look)

    def create_pool(self, pool_name: str, crush_rule: int | None = None, auid: int | None = None) -> None:
        """Create a pool as the cluster does by default, or placed by the CRUSH rule of that number; `auid` is ignored.

        Raises ObjectExists, ObjectNotFound (no such rule), PermissionError.
        """
        self.require_state("connected")
        check_str(pool_name=pool_name)
        rule = None if crush_rule is None else integer(crush_rule)
        self._ask(f"error creating pool '{pool_name}'", lambda client: _create_pool(client, pool_name, rule))

    def delete_pool(self, pool_name: str) -> None:
        """Delete a pool with all its objects. Raises ObjectNotFound, PermissionError (monitors don't allow it)."""
        self.require_state("connected")
        check_str(pool_name=pool_name)
        self._ask(f"error deleting pool '{pool_name}'", lambda client: client.pool_delete(pool_name))

    def get_pool_base_tier(self, pool_id: int) -> int:
        """The pool that a cache tier stands before; any other pool is its own. Raises ObjectNotFound."""
        self.require_state("connected")
        number = integer(pool_id)
        return self._ask(f"get_pool_base_tier({number})", _value(lambda client: client.pool_base_tier(number)))

    def get_inconsistent_pgs(self, pool_id: int) -> list[str]:
        """The placement groups of a pool in which scrubbing has found errors. Raises ObjectNotFound."""
        self.require_state("connected")
        number = integer(pool_id)
        return self._ask("error calling inconsistent_pg_list", lambda client: client.inconsistent_pgs(number))

    def open_ioctx(self, ioctx_name: str) -> Ioctx:
        """An io context for the pool of that name. Raises ObjectNotFound."""
        self.require_state("connected")
        if not isinstance(ioctx_name, str):
            raise wrong_type("ioctx_name", ioctx_name, "str")
        return self._open(ioctx_name, ioctx_name)

    def open_ioctx2(self, pool_id: int) -> Ioctx:
        """An io context for the pool of that number. Raises ObjectNotFound."""
        self.require_state("connected")
        number = integer(pool_id)
        return self._open(number, str(number))

    def _open(self, pool: str | int, name: str) -> Ioctx:
        from .ioctx import Ioctx

        ioctx = Ioctx(self, name)  # type: ignore[arg-type]
        ioctx._pool = pool
        ioctx._bind()
        return ioctx

    # commands: (result, output, status line)

    def mon_command(self, cmd: str, inbuf: bytes, timeout: int = 0, target: str | int | None = None) -> CommandReply:
        """A command (JSON) for the monitors, or the one of that name or rank, within `timeout` s (0: as configured)."""
        where = None if target is None else target if isinstance(target, int) else str(target)
        return self._command(cmd, inbuf, timeout, lambda c, s: c.mon_command(cmd, inbuf, timeout_s=s, target=where))

    def mgr_command(self, cmd: str, inbuf: bytes, timeout: int = 0, target: str | None = None) -> CommandReply:
        """A command (JSON) for the active manager."""
        return self._command(cmd, inbuf, timeout, lambda c, s: c.mgr_command(cmd, inbuf, timeout_s=s, target=target))

    def osd_command(self, osdid: int, cmd: str, inbuf: bytes, timeout: int = 0) -> CommandReply:
        """A command (JSON) for one OSD."""
        self.require_state("connected")
        number = integer(osdid)
        return self._command(cmd, inbuf, timeout, lambda c, s: c.osd_command(number, cmd, inbuf, timeout_s=s))

    def pg_command(self, pgid: str, cmd: str, inbuf: bytes, timeout: int = 0) -> CommandReply:
        """A command (JSON) for the OSD that serves a placement group, such as `1.2f`."""
        self.require_state("connected")
        check_str(pgid=pgid)
        return self._command(cmd, inbuf, timeout, lambda c, s: c.pg_command(pgid, cmd, inbuf, timeout_s=s))

    def _command(
        self,
        cmd: str,
        inbuf: bytes,
        timeout: float,
        make: Callable[[Client, float | None], Coroutine[Any, Any, CommandResult]],
    ) -> CommandReply:
        """Errors on the way are results, too: librados raises none for commands."""
        self.require_state("connected")
        if not isinstance(cmd, str):
            raise wrong_type("cmd", cmd, "str")
        if not isinstance(inbuf, bytes):
            raise wrong_type("inbuf", inbuf, "bytes")
        session = self.session()
        seconds = float(timeout) or None
        try:
            found = session.run(lambda: make(session.client, seconds))
        except ClientError as problem:
            return -problem.errno, b"", str(problem)
        return found.result, bytes(found.outbuf), found.status

    def ping_monitor(self, mon_id: str) -> str:
        """What the monitor of that name says of itself (JSON). Raises ObjectNotFound if there is none."""
        self.require_state("configuring", "connected")
        check_str(mon_id=mon_id)
        if self.state == "connected":
            return self._ask("error calling ping_monitor", lambda client: client.ping_monitor(mon_id))
        thread = runtime.acquire()
        try:
            client = self._make_client()
            return runtime.run(thread, lambda: client.ping_monitor(mon_id))
        except ClientError as problem:
            raise make_ex(problem.errno, "error calling ping_monitor") from problem
        finally:
            runtime.release(thread)

    @abstractmethod
    def _make_client(self) -> Client:
        """A client with this handle's configuration."""

    # service daemon and log

    def service_daemon_register(self, service: str, daemon: str, metadata: dict[str, str]) -> None:
        """Show this client as a daemon of a service in `ceph status`. Raises ObjectExists if it is one already."""
        check_str(service=service, daemon=daemon)
        facts = _texts(metadata, "metadata")
        self._ask(
            "error calling service_register()", lambda client: client.service_daemon_register(service, daemon, facts)
        )

    def service_daemon_update(self, status: dict[str, str]) -> None:
        """Replace the status of the service daemon that this client is."""
        facts = _texts(status, "status")
        self._ask("error calling service_daemon_update()", lambda client: client.service_daemon_update(facts))

    def monitor_log(self, level: str, callback: Callable[..., Any] | None = None, arg: Any = None) -> None:
        """Have `callback(arg, line, who, sec, nsec, seq, level, msg)` called for each line of the cluster's log.

        `level`: one of MONITOR_LEVELS. Texts are bytes. None as `callback` ends it. Raises LogicError.
        """
        self._watch_log(level, callback, arg, second=False)

    def monitor_log2(self, level: str, callback: Callable[..., Any] | None = None, arg: Any = None) -> None:
        """The same with `callback(arg, line, channel, name, who, sec, nsec, seq, level, msg)`."""
        self._watch_log(level, callback, arg, second=True)

    def _watch_log(self, level: str, callback: Callable[..., Any] | None, arg: Any, *, second: bool) -> None:
        if level not in MONITOR_LEVELS:
            raise LogicError(f"invalid monitor level {level}")
        if callback is not None and not callable(callback):
            raise LogicError("callback must be a callable function or None")
        told = None
        if callback is not None:
            told = _LogCallback(self.session(), callback, arg, second)
        self._ask("error calling rados_monitor_log", _value(lambda client: client.monitor_log(level, told)))
        both = None if callback is None else (callback, arg)
        self.monitor_callback = None if second else both
        self.monitor_callback2 = both if second else None


class _LogCallback:
    """Called on the loop for each line; the user's callback gets it on the callback thread."""

    def __init__(self, session: Session, callback: Callable[..., Any], arg: Any, second: bool) -> None:
        self._finisher = session.finisher
        self._callback = callback
        self._arg = arg
        self._second = second

    def __call__(self, line: LogLine) -> None:
        seconds, nanoseconds = divmod(line.stamp_ns, 10**9)
        middle = (seconds, nanoseconds, line.seq, line.level.encode(), line.text.encode())
        who = line.who.encode()
        start = (line.line.encode(), line.channel.encode(), line.name.encode(), who)
        arguments = (*start, *middle) if self._second else (start[0], who, *middle)
        callback, arg = self._callback, self._arg

        def tell() -> None:
            callback(arg, *arguments)

        self._finisher.put(tell)


def _value(get: Callable[[Client], T]) -> Callable[[Client], Coroutine[Any, Any, T]]:
    """A plain method of the client as one to run on the loop."""

    async def call(client: Client) -> T:
        return get(client)

    return call


def _texts(given: dict[str, str], name: str) -> dict[str, str]:
    check(name, given, dict)
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"{name} must be a dict of str to str")
    return dict(given)


async def _create_pool(client: Client, name: str, rule: int | None) -> None:
    """By the request that librados sends; the name is the monitors' to judge."""
    what = f"create pool {name!r}"
    if not name or len(name.encode("utf-8", "surrogateescape")) > POOL_NAME_MAX:
        raise make_error(-errno.EINVAL, operation=what)
    if client.osdmap.pool_id(name) is not None:
        raise make_error(-errno.EEXIST, operation=what)
    if rule is None:
        await client.pool_op(what, 0, PoolOpCode.CREATE, name)
    else:
        rules = (await client.mon_command({"prefix": "osd crush rule dump", "format": "json"})).check().json()
        named = [item["rule_name"] for item in rules if item.get("rule_id") == rule]
        if not named:
            raise make_error(-errno.ENOENT, operation=what, detail=f"there is no CRUSH rule {rule}")
        command = {"prefix": "osd pool create", "pool": name, "pool_type": "replicated", "rule": named[0]}
        (await client.mon_command(command)).check()
    await client.wait_for_latest_map(client.conf.mon_op_timeout_s)
