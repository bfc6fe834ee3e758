"""Rados: the client of one cluster; it opens io contexts, and each module below has the calls of one subject.

    async with Rados("ceph.conf", name="client.admin") as cluster:
        async with cluster.open_ioctx("rbd") as ioctx:
            await ioctx.write_full("greeting", b"hello")

client_base.py: configuration, connect, shutdown; client_commands.py: commands to monitors, managers and OSDs;
client_pools.py: pools; client_cluster.py: the cluster as a whole.

Source: Ceph's librados (names and meaning); its RadosClient.
"""

from __future__ import annotations

from .client_cluster import ClusterCalls
from .ioctx import IoCtx


class Rados(ClusterCalls):
    """A client. All methods are to be called on the event loop on which `connect` ran."""

    def open_ioctx(self, pool: str | int) -> IoCtx:
        """An io context for a pool, by name or number: `async with`, or `await`, which raise ObjectNotFound if there is
        no such pool."""
        return IoCtx(self, pool)
