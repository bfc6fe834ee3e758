"""Snapshots: of the whole pool, by name, or managed by the client itself, by number.

    await ioctx.create_snap("monday")                        # every object of the pool, as it is now
    ioctx.snap_set_read(ioctx.lookup_snap("monday").id)      # read them as they were

    number = await ioctx.create_self_managed_snap()          # means nothing until writes say that they preserve it
    ioctx.set_self_managed_snap_write_ctx(number, [number, *older])

A pool has one kind of snapshots or the other, by the first that is made in it. Taking one copies nothing: the first
write to an object after it makes the OSD keep the object as it was, as a clone (`object_snaps`).

Source: Ceph's librados IoCtx (snap_*, selfmanaged_snap_*), Objecter::create_pool_snap and its kin.
"""

from __future__ import annotations

import errno
from typing import NamedTuple, cast

from ..wire.encoding import Decoder, encode_text
from ..wire.errors import PeerError, UsageError
from ..wire.messages import PoolOpCode
from ..wire.snapsets import SnapList
from ..wire.types import MAXSNAP, NOSNAP, SNAPDIR
from .errors import InvalidArgument, ObjectExists, ObjectNotFound, make_error
from .ioctx_base import IoCtxBase
from .operations import ReadOp, WriteOp


class PoolSnap(NamedTuple):
    """A snapshot of a pool: its number, its name, and when it was taken (nanoseconds since the epoch)."""

    id: int
    name: str
    stamp_ns: int


class SnapshotMethods(IoCtxBase):
    """Snapshots of the whole pool, and those that the client manages itself."""

    # of the pool

    def list_snaps(self) -> list[PoolSnap]:
        """The pool's snapshots that our OSD map knows, oldest first. (`Rados.wait_for_latest_map` gets the newest.)

        Raises ObjectNotFound if the pool is gone.
        """
        snaps = self.cluster.pool(self.pool_id).snaps
        return [PoolSnap(snaps[number].snapid, snaps[number].name, snaps[number].stamp_ns) for number in sorted(snaps)]

    def lookup_snap(self, name: str) -> PoolSnap:
        """The pool's snapshot of that name, as our OSD map has it. Raises ObjectNotFound."""
        for snap in self.list_snaps():
            if snap.name == name:
                return snap
        raise ObjectNotFound(
            f"pool {self.pool_name!r} has no snapshot {name!r} [ENOENT]; check the name with list_snaps()",
            errno=errno.ENOENT,
            operation="look up snapshot",
        )

    async def create_snap(self, name: str) -> None:
        """Take a snapshot of the whole pool; returns when our OSD map has it.

        Raises ObjectExists (name taken, also by the newest map), InvalidArgument (no name, or one with a NUL in it; or
        snapshots of this pool are managed by clients), PermissionDenied, TimedOut, OutcomeUnknown.
        """
        what = f"create snapshot {name!r} of pool {self.pool_name!r}"
        if not name or "\0" in name:
            raise InvalidArgument(f"{what}: a snapshot needs a name, without a NUL")
        try:
            encode_text(name)
        except UsageError as problem:
            raise InvalidArgument(f"{what}: {problem}") from None
        if self._has_snap(name):
            await self.objecter.wait_for_latest_map(self.cluster.conf.mon_op_timeout_s)
        if self._has_snap(name):
            raise ObjectExists(
                f"{what}: there is one of that name [EEXIST]; choose another name, or remove it first",
                errno=errno.EEXIST,
                operation=what,
            )
        await self.cluster.pool_op(what, self.pool_id, PoolOpCode.CREATE_SNAP, name)

    async def remove_snap(self, name: str) -> None:
        """Remove a snapshot of the pool; returns when our OSD map says so. Reads at it fail from then on; the OSDs
        free its space in the background.

        Raises ObjectNotFound (after asking for the newest map), PermissionDenied, TimedOut, OutcomeUnknown.
        """
        await self._find_snap(name)
        what = f"remove snapshot {name!r} of pool {self.pool_name!r}"
        await self.cluster.pool_op(what, self.pool_id, PoolOpCode.DELETE_SNAP, name)

    async def rollback(self, oid: str, snap: str | int) -> None:
        """Make an object what it was at a snapshot: of the pool, by name, or any, by id.

        An object that did not exist then is removed; an id that is unknown counts as such. Also in a context that
        reads at a snapshot. Raises ObjectNotFound (no snapshot of that name), ObjectBusy (an object to be removed is
        watched).
        """
        snapid = (await self._find_snap(snap)).id if isinstance(snap, str) else snap
        context = self
        if self._snap_read != NOSNAP:
            context = self.duplicate()
            context.snap_set_read(None)
        self._last_version = (await context.operate(oid, WriteOp().rollback(snapid))).version

    def _has_snap(self, name: str) -> bool:
        return any(snap.name == name for snap in self.list_snaps())

    async def _find_snap(self, name: str) -> PoolSnap:
        """As lookup_snap; one that our map lacks is looked for in the newest."""
        try:
            return self.lookup_snap(name)
        except ObjectNotFound:
            await self.objecter.wait_for_latest_map(self.cluster.conf.mon_op_timeout_s)
        return self.lookup_snap(name)

    # managed by the client

    async def create_self_managed_snap(self) -> int:
        """A new snapshot id of the pool: greater than all before it. It takes effect with the first write whose
        context (`set_self_managed_snap_write_ctx`) has it.

        Raises InvalidArgument (the pool has snapshots of its own, or did once), PermissionDenied, TimedOut,
        OutcomeUnknown.
        """
        what = f"create a self-managed snapshot in pool {self.pool_name!r}"
        reply = await self.cluster.pool_op(what, self.pool_id, PoolOpCode.CREATE_UNMANAGED_SNAP)
        try:
            return Decoder(reply.response_data).u64()
        except PeerError as problem:
            raise make_error(-errno.EIO, operation=what, detail=str(problem)) from problem

    async def remove_self_managed_snap(self, snapid: int) -> None:
        """Remove a snapshot; returns when our OSD map says so. Leave the id out of write contexts from then on.

        Removing it again is no error. Raises ObjectNotFound (never handed out), NotSupported (the pool has no such
        snapshots), PermissionDenied, TimedOut, OutcomeUnknown.
        """
        if not 0 < snapid <= MAXSNAP:
            raise InvalidArgument(f"snapid={snapid}: give an id from create_self_managed_snap()")
        what = f"remove self-managed snapshot {snapid} of pool {self.pool_name!r}"
        await self.cluster.pool_op(what, self.pool_id, PoolOpCode.DELETE_UNMANAGED_SNAP, snapid=snapid)

    # of one object

    async def object_snaps(self, oid: str) -> SnapList:
        """What the OSD keeps of an object: its clones, oldest first, then its head (id NOSNAP) unless it is deleted.

        Of each: id, the snapshots that it stands for, size in bytes, and the ranges that it shares with the next
        newer one. A removed snapshot is listed until its clone has been trimmed. Raises ObjectNotFound.
        """
        context = self.duplicate()
        context.snap_set_read(SNAPDIR)
        return cast("SnapList", (await context.operate(oid, ReadOp().list_snaps())).value(0))
