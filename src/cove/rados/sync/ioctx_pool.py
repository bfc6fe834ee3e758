"""What concerns a pool and not one object's data: snapshots, locks, applications, statistics.

Source: Ceph's pybind/rados (`Ioctx`), librados.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..errors import Error as ClientError
from ..errors import ObjectNotFound as ClientNotFound
from ..ioctx import IoCtx
from .checks import check_str, integer, unsigned
from .ioctx_base import IoctxBase, failed
from .iterators import Snap, SnapIterator

T = TypeVar("T")


class PoolMethods(IoctxBase):
    """Snapshots, locks, applications, statistics. All raise IoctxStateError, TypeError, `Error`."""

    def _ask(self, message: str, make: Callable[[IoCtx], Coroutine[Any, Any, T]]) -> T:
        io, session = self._context()
        try:
            return session.run(lambda: make(io))
        except ClientError as problem:
            raise failed(problem.errno, message, problem) from problem

    # the pool

    def get_pool_id(self) -> int:
        """The pool's number."""
        return self._context()[0].pool_id

    def get_pool_name(self) -> str:
        """The pool's name now: it may have been renamed since it was opened."""
        name: str = self._ask("get pool name error", _value(lambda io: io.current_pool_name()))
        return name

    def get_stats(self) -> dict[str, int]:
        """How full the pool is: bytes, KiB, objects, copies; and what was read and written (some seconds old)."""
        self.require_ioctx_open()
        found = self._ask(f"Ioctx.get_stats({self.name}): get_stats failed", lambda io: io.pool_stats())
        return {
            "num_bytes": found.num_bytes,
            "num_kb": (found.num_bytes + 1023) >> 10,
            "num_objects": found.num_objects,
            "num_object_clones": found.num_object_clones,
            "num_object_copies": found.num_object_copies,
            "num_objects_missing_on_primary": found.num_objects_missing_on_primary,
            "num_objects_unfound": found.num_objects_unfound,
            "num_objects_degraded": found.num_objects_degraded,
            "num_rd": found.num_rd,
            "num_rd_kb": found.num_rd_kb,
            "num_wr": found.num_wr,
            "num_wr_kb": found.num_wr_kb,
        }

    def alignment(self) -> int | None:
        """Bytes that every append but the last must be a multiple of; None where any length will do."""
        found: int | None = self._ask("error checking alignment", _value(lambda io: io.alignment() or None))
        return found

    # snapshots

    def _pool_snaps(self) -> list[Any]:
        return list(self._ask(f"error calling rados_snap_list for ioctx '{self.name}'", _value(_snaps_of)))

    def list_snaps(self) -> SnapIterator:
        """The pool's snapshots."""
        self.require_ioctx_open()
        return SnapIterator(self)

    def create_snap(self, snap_name: str) -> None:
        """Make a snapshot of the pool. Raises ObjectExists."""
        self.require_ioctx_open()
        check_str(snap_name=snap_name)
        self._ask(f"Failed to create snap {snap_name}", lambda io: io.create_snap(snap_name))

    def remove_snap(self, snap_name: str) -> None:
        """Remove a snapshot of the pool. Raises ObjectNotFound."""
        self.require_ioctx_open()
        check_str(snap_name=snap_name)
        self._ask(f"Failed to remove snap {snap_name}", lambda io: io.remove_snap(snap_name))

    def lookup_snap(self, snap_name: str) -> Snap:
        """A snapshot of the pool by its name. Raises ObjectNotFound."""
        self.require_ioctx_open()
        check_str(snap_name=snap_name)
        found = self._ask(f"Failed to lookup snap {snap_name}", _value(lambda io: io.lookup_snap(snap_name)))
        return Snap(self, snap_name, found.id)

    def snap_rollback(self, oid: str, snap_name: str) -> None:
        """Make an object what it was at a snapshot of the pool. Raises ObjectNotFound (no such snapshot)."""
        self.require_ioctx_open()
        check_str(oid=oid, snap_name=snap_name)
        self._ask(f"Failed to rollback {oid}", lambda io: io.rollback(oid, snap_name))

    def create_self_managed_snap(self) -> int:
        """A number for a snapshot that this client manages itself; not in pools that have snapshots of their own."""
        self.require_ioctx_open()
        return self._ask("Failed to create self-managed snapshot", lambda io: io.create_self_managed_snap())

    def remove_self_managed_snap(self, snap_id: int) -> None:
        """Give the number back: the OSDs remove what the snapshot preserved."""
        self.require_ioctx_open()
        number = unsigned(snap_id)
        self._ask("Failed to remove self-managed snapshot", lambda io: io.remove_self_managed_snap(number))

    def rollback_self_managed_snap(self, oid: str, snap_id: int) -> None:
        """Make an object what it was at a self-managed snapshot."""
        self.require_ioctx_open()
        check_str(oid=oid)
        number = unsigned(snap_id)
        self._ask(f"Failed to rollback {oid}", lambda io: io.rollback(oid, number))

    # locks

    def lock_exclusive(
        self, key: str, name: str, cookie: str, desc: str = "", duration: int | None = None, flags: int = 0
    ) -> None:
        """Take the lock `name` on the object `key`, for this client and `cookie` alone, for `duration` seconds.

        Raises ObjectExists (we have it), ObjectBusy (others have it).
        """
        self.require_ioctx_open()
        check_str(key=key, name=name, cookie=cookie, desc=desc)
        seconds, bits = _duration(duration), integer(flags)
        self._ask(
            self._lock_failure(key, name),
            lambda io: io.lock_exclusive(key, name, cookie, description=desc, duration_s=seconds, flags=bits),
        )

    def lock_shared(
        self, key: str, name: str, cookie: str, tag: str, desc: str = "", duration: int | None = None, flags: int = 0
    ) -> None:
        """Share the lock with those who give the same `tag`."""
        self.require_ioctx_open()
        check_str(key=key, name=name, cookie=cookie, tag=tag, desc=desc)
        seconds, bits = _duration(duration), integer(flags)
        self._ask(
            self._lock_failure(key, name),
            lambda io: io.lock_shared(key, name, cookie, tag, description=desc, duration_s=seconds, flags=bits),
        )

    def unlock(self, key: str, name: str, cookie: str) -> None:
        """Give the lock up. Raises ObjectNotFound if we don't have it."""
        self.require_ioctx_open()
        check_str(key=key, name=name, cookie=cookie)
        self._ask(self._lock_failure(key, name), lambda io: io.unlock(key, name, cookie))

    def _lock_failure(self, key: str, name: str) -> str:
        return f"Ioctx.rados_lock_exclusive({self.name}): failed to set lock {name} on {key}"

    # applications

    def application_enable(self, app_name: str, force: bool = False) -> None:
        """Note what uses the pool; `force` for a second application. Raises PermissionError without it."""
        check_str(app_name=app_name)
        self._ask("error enabling application", lambda io: io.application_enable(app_name, force=bool(force)))

    def application_list(self) -> list[str]:
        """The applications of the pool."""
        return self._ask("error listing applications", _value(lambda io: io.application_list()))

    def application_metadata_get(self, app_name: str, key: str) -> str:
        """One of an application's notes. Raises KeyError if there is none."""
        check_str(app_name=app_name, key=key)

        async def get(io: IoCtx) -> str | None:
            try:
                return io.application_metadata_get(app_name, key)
            except ClientNotFound:
                return None

        found = self._ask(f"error getting metadata {key} for application {app_name}", get)
        if found is None:
            raise KeyError(f"no metadata {key} for application {app_name.encode()!r}")
        return found

    def application_metadata_set(self, app_name: str, key: str, value: str) -> None:
        """Note something for an application. Raises ObjectNotFound if it is not enabled."""
        check_str(app_name=app_name, key=key, value=value)
        self._ask("error setting application metadata", lambda io: io.application_metadata_set(app_name, key, value))

    def application_metadata_remove(self, app_name: str, key: str) -> None:
        """Remove a note. Raises ObjectNotFound if the application is not enabled."""
        check_str(app_name=app_name, key=key)
        self._ask("error removing application metadata", lambda io: io.application_metadata_remove(app_name, key))

    def application_metadata_list(self, app_name: str) -> list[tuple[str, str]]:
        """All notes of an application, by key. Raises ObjectNotFound if it is not enabled."""
        check_str(app_name=app_name)
        found = self._ask(
            "error listing application metadata", _value(lambda io: io.application_metadata_list(app_name))
        )
        return sorted(found.items())


def _value(get: Callable[[IoCtx], Any]) -> Callable[[IoCtx], Coroutine[Any, Any, Any]]:
    """A method of the io context, plain or not, as one to run on the loop."""

    async def call(io: IoCtx) -> Any:
        found = get(io)
        return await found if hasattr(found, "__await__") else found

    return call


def _snaps_of(io: IoCtx) -> Any:
    return io.list_snaps()


def _duration(value: Any) -> float:
    """Seconds of a lock; 0: without an end."""
    return 0.0 if value is None else float(integer(value))
