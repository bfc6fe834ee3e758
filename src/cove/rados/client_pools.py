"""PoolCalls: what a client asks and changes about pools: names, numbers, statistics, making and deleting them.

Source: Ceph's librados (`rados_pool_*`), Objecter::pool_op_submit.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from ..wire.messages import Message, MGetPoolStats, MGetPoolStatsReply, MPoolOp, MPoolOpReply, PoolOpCode
from ..wire.pool import PgPool
from .client_commands import CommandCalls
from .errors import InvalidArgument, ObjectExists, ObjectNotFound, PermissionDenied, make_error
from .stats import NEW_POOL, PoolStats, pool_stats_of

POOL_NAME_BYTES_MAX = 250
POOLS_NAMED_MAX = 20
"""How many pools an error lists."""
DELETE_WORD = "delete"
"""What a request to delete a pool carries instead of its name."""


class PoolCalls(CommandCalls):
    """The part of a client that is about pools."""

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

    def pool(self, number: int) -> PgPool:
        """A pool of our map, by number. Raises ObjectNotFound."""
        found = self.osdmap.pools.get(number)
        if found is None:
            raise make_error(-errno.ENOENT, operation=f"look up pool {number}")
        return found

    def pool_name(self, number: int) -> str:
        """The name of a pool of our map. Raises ObjectNotFound."""
        self.pool(number)
        return self.osdmap.pool_names.get(number, "")

    async def pool_reverse_lookup(self, number: int) -> str:
        """The name of a pool. Raises ObjectNotFound, after asking for the newest map."""
        if number not in self.osdmap.pools:
            await self.objecter.wait_for_latest_map(self.conf.mon_op_timeout_s)
        return self.pool_name(number)

    def pool_base_tier(self, number: int) -> int:
        """The pool that a cache tier stands before; any other pool is its own base. Raises ObjectNotFound."""
        tier_of = self.pool(number).tier_of
        return number if tier_of < 0 else tier_of

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

    async def pool_stats(self, names: Sequence[str] | None = None) -> dict[str, PoolStats]:
        """How full pools are (None: all); new ones are empty for the second or two until they are reported.

        Raises ObjectNotFound for one that does not exist.
        """
        fsid, wanted = self.fsid, self.pool_list() if names is None else list(names)
        for name in wanted:
            await self.pool_lookup(name)
        answer = await self._ask_monitor("pool stats", lambda tid: MGetPoolStats(tid=tid, fsid=fsid, pools=wanted))
        reply = cast("MGetPoolStatsReply", answer)
        known = {name: pool_stats_of(stat, reply.per_pool) for name, stat in reply.stats.items()}
        return {name: known.get(name, NEW_POOL) for name in wanted}


def _pool_op_message(fsid: UUID, pool: int, code: PoolOpCode, name: str, snapid: int, tid: int) -> Message:
    return MPoolOp(tid=tid, fsid=fsid, pool=pool, op=code, name=name, snapid=snapid)
