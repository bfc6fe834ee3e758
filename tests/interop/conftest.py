"""Clusters for the interop tests: started when the first test asks, shared by all, taken down at the end.

Tests that change the map or stop daemons start a cluster of their own: it takes less than a second.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cove.rados import IoCtx, Rados

from .ceph_cluster import CephCluster, missing
from .peer import Librados
from .rados_cli import Cove

POOL = "rbd"


@pytest.fixture(scope="session")
def ceph_is_installed() -> None:
    """Skips where Ceph is not installed, except where the tests are there to find that out."""
    absent = missing()
    if absent and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(absent)
    if absent:
        pytest.skip(absent)


@pytest.fixture(scope="session")
def one_osd(ceph_is_installed: None) -> Iterator[CephCluster]:
    """A cluster of one OSD with the defaults: cephx, secure to monitors and managers, crc to OSDs."""
    with CephCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def no_auth(ceph_is_installed: None) -> Iterator[CephCluster]:
    """A cluster without authentication, with BlueStore, and with monitors that speak the old protocol, too."""
    with CephCluster(auth="none", store="bluestore", msgr1=True) as cluster:
        yield cluster


@pytest.fixture
def conf(one_osd: CephCluster) -> Path:
    """ceph.conf of the cluster of one OSD."""
    return one_osd.conf_path


@pytest.fixture
async def client(one_osd: CephCluster) -> AsyncIterator[Rados]:
    """Our client on the cluster of one OSD."""
    async with Rados(one_osd.conf_path) as cluster:
        yield cluster


@pytest.fixture
async def ioctx(client: Rados) -> AsyncIterator[IoCtx]:
    """Our io context on its pool."""
    async with client.open_ioctx(POOL) as opened:
        yield opened


@pytest.fixture
async def no_auth_ioctx(no_auth: CephCluster) -> AsyncIterator[IoCtx]:
    """Our io context on the cluster without authentication."""
    async with Rados(no_auth.conf_path) as cluster, cluster.open_ioctx(POOL) as opened:
        yield opened


@pytest.fixture
def cove(one_osd: CephCluster) -> Cove:
    """The command `cove rados` on the same cluster."""
    return Cove(one_osd)


@pytest.fixture
def librados(one_osd: CephCluster) -> Librados:
    """Debian's librados on the same cluster."""
    return one_osd.peer()


@pytest.fixture
def oid(request: pytest.FixtureRequest) -> str:
    """An object name that no other test uses."""
    return f"{request.path.stem}.{request.node.name}"
