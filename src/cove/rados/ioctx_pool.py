"""What concerns the pool itself: applications and their metadata, statistics, alignment.

Source: Ceph's librados IoCtx (`rados_application_*`, `rados_ioctx_pool_*`).
"""

from __future__ import annotations

import errno
from typing import Any

from ..wire.pool import PgPool, PoolFlag
from .errors import make_error
from .ioctx_base import IoCtxBase
from .stats import PoolStats


class PoolMethods(IoCtxBase):
    """What concerns the pool itself: applications and their metadata, statistics, alignment."""

    @property
    def _pool_in_map(self) -> PgPool:
        """The pool in our map. Raises NotConnected (not open), ObjectNotFound (deleted)."""
        _ = self.objecter
        return self.cluster.pool(self.pool_id)

    def current_pool_name(self) -> str:
        """The pool's name now: it may have been renamed since it was opened. Raises ObjectNotFound."""
        _ = self.objecter
        return self.cluster.pool_name(self.pool_id)

    async def pool_stats(self) -> PoolStats:
        """How full the pool is. Raises ObjectNotFound."""
        name = self.current_pool_name()
        return (await self.cluster.pool_stats([name]))[name]

    def requires_alignment(self) -> bool:
        """Whether appends have to be multiples of `alignment()`: an erasure-coded pool without overwrites."""
        pool = self._pool_in_map
        return pool.is_erasure and not int(pool.flags) & PoolFlag.EC_OVERWRITES

    def alignment(self) -> int:
        """Bytes that every append but the last must be a multiple of; 0 where any length will do."""
        return self._pool_in_map.stripe_width if self.requires_alignment() else 0

    # applications

    async def _application_command(self, verb: str, **arguments: Any) -> None:
        command = {"prefix": f"osd pool application {verb}", "pool": self.current_pool_name(), **arguments}
        (await self.cluster.mon_command(command)).check()
        await self.cluster.wait_for_latest_map(self.cluster.conf.mon_op_timeout_s)

    async def application_enable(self, application: str, *, force: bool = False) -> None:
        """Note what uses the pool (`rbd`, `rgw`, `cephfs`, …); `force` for a second application. Returns once our map
        has it. Raises PermissionDenied (it has one, or no right to), InvalidArgument."""
        arguments: dict[str, Any] = {"yes_i_really_mean_it": True} if force else {}
        await self._application_command("enable", app=application, **arguments)

    def application_list(self) -> list[str]:
        """The applications of the pool in our map."""
        return sorted(self._pool_in_map.application_metadata)

    def application_metadata_list(self, application: str) -> dict[str, str]:
        """All that an application has noted at the pool. Raises ObjectNotFound if it is not enabled."""
        found = self._pool_in_map.application_metadata.get(application)
        if found is None:
            raise make_error(-errno.ENOENT, operation=f"application {application!r} of pool {self.pool_name!r}")
        return dict(found)

    def application_metadata_get(self, application: str, key: str) -> str:
        """One of these. Raises ObjectNotFound."""
        found = self.application_metadata_list(application)
        if key not in found:
            raise make_error(
                -errno.ENOENT, operation=f"key {key!r} of application {application!r} of pool {self.pool_name!r}"
            )
        return found[key]

    async def application_metadata_set(self, application: str, key: str, value: str) -> None:
        """Note something at the pool. Raises ObjectNotFound if the application is not enabled."""
        await self._application_command("set", app=application, key=key, value=value)

    async def application_metadata_remove(self, application: str, key: str) -> None:
        """Remove a note; one that is not there is no error. Raises ObjectNotFound if the application is not enabled."""
        await self._application_command("rm", app=application, key=key)
