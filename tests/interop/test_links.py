"""Links: secure and crc, cephx and none; and what happens when a door stays shut: a clear error, in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cove.rados import Error, PermissionDenied, Rados, TimedOut
from cove.wire.auth import ConnectionMode

from .ceph_cluster import CephCluster, keyring, new_key
from .conftest import POOL

CRC, SECURE = ConnectionMode.CRC, ConnectionMode.SECURE


async def write_and_read(cluster: Rados) -> None:
    async with cluster.open_ioctx(POOL) as ioctx:
        data = bytes(range(256)) * 1000
        await ioctx.write_full("links", data)
        assert await ioctx.read("links") == data


def modes(cluster: Rados) -> tuple[ConnectionMode, ConnectionMode]:
    """Of the link to the monitor, and of that to the OSD."""
    (session,) = cluster.objecter.sessions.values()
    mon = cluster.objecter.monclient.connection
    return mon.mode, session.connection.mode  # type: ignore[union-attr]


async def test_the_defaults_are_secure_to_monitors_and_crc_to_osds(client: Rados) -> None:
    await write_and_read(client)
    assert modes(client) == (SECURE, CRC)


@pytest.mark.parametrize("mon", ["crc", "secure"])
@pytest.mark.parametrize("osd", ["crc", "secure"])
async def test_the_client_may_offer_one_mode_only(one_osd: CephCluster, mon: str, osd: str) -> None:
    conf = one_osd.client_conf(f"modes-{mon}-{osd}", ms_mon_client_mode=mon, ms_client_mode=osd)
    async with Rados(conf) as cluster:
        await write_and_read(cluster)
        assert modes(cluster) == (ConnectionMode[mon.upper()], ConnectionMode[osd.upper()])


async def test_the_server_may_insist(one_osd: CephCluster) -> None:
    admin = one_osd.peer()
    settings = {"ms_service_mode": "secure", "ms_mon_service_mode": "crc"}
    try:
        for name, value in settings.items():
            admin.mon("config set", who="global", name=name, value=value)

        async def turned() -> bool:
            async with Rados(one_osd.conf_path) as cluster:
                await write_and_read(cluster)
                return modes(cluster) == (CRC, SECURE)

        await in_time(turned)
    finally:
        for name in settings:
            admin.mon("config rm", who="global", name=name)


async def in_time(probe: Callable[[], Awaitable[bool]], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not await probe():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_no_authentication(no_auth: CephCluster) -> None:
    async with Rados(no_auth.conf_path) as cluster:
        await write_and_read(cluster)
        assert modes(cluster) == (CRC, CRC)
    async with Rados(no_auth.conf_path, name="client.anybody") as cluster:
        await write_and_read(cluster)
    assert no_auth.rados("-p", POOL, "get", "links", "-") == bytes(range(256)) * 1000


# where the monitors are


@pytest.mark.parametrize(
    "form",
    [
        "{a}",
        "{a}:3300",
        "v2:{a}:3300",
        "v2:{a}:3300/0",
        "[v2:{a}:3300/0]",
        "[v2:{a}:3300/0,v1:{a}:6789/0]",
        "[v1:{a}:6789,v2:{a}:3300]",
    ],
)
async def test_forms_of_mon_host(one_osd: CephCluster, form: str) -> None:
    conf = one_osd.client_conf("mon-host", mon_host=form.format(a=one_osd.address))
    async with Rados(conf) as cluster:
        await write_and_read(cluster)


async def test_the_first_monitor_is_away(one_osd: CephCluster) -> None:
    """Hunting: two addresses where nobody listens, and the one of the monitor."""
    hosts = f"v2:{one_osd.address}:9,v2:{one_osd.address}:10 {one_osd.mon_host}"
    async with Rados(one_osd.client_conf("hunting", mon_host=hosts)) as cluster:
        await write_and_read(cluster)


async def test_the_first_monitor_says_nothing(one_osd: CephCluster) -> None:
    async with black_hole() as port:
        hosts = f"v2:127.0.0.1:{port} {one_osd.mon_host}"
        began = time.monotonic()
        async with Rados(one_osd.client_conf("hunting", mon_host=hosts)) as cluster:
            await write_and_read(cluster)
        assert time.monotonic() - began < 10


# configuration from the environment


async def test_ceph_conf_from_the_environment(one_osd: CephCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPH_CONF", str(one_osd.conf_path))
    async with Rados() as cluster:
        assert str(cluster.fsid) == one_osd.fsid


async def test_a_key_from_ceph_conf(one_osd: CephCluster) -> None:
    text = one_osd.ceph("auth", "get-key", "client.admin")["key"]
    conf = one_osd.client_conf("key", keyring="/nonexistent", key=text)
    async with Rados(conf) as cluster:
        await write_and_read(cluster)


# shut doors: each a clear error, and soon


async def refused(conf: Path, timeout_s: float = 10.0, name: str = "client.admin") -> Error:
    """The error of connecting."""
    began = time.monotonic()
    with pytest.raises(Error) as problem:
        await Rados(conf, name=name).connect(timeout_s)
    assert time.monotonic() - began < timeout_s + 1
    assert len(str(problem.value).splitlines()) == 1
    return problem.value


async def test_wrong_key(one_osd: CephCluster, tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    path.write_text(keyring("client.admin", new_key()))
    error = await refused(one_osd.client_conf("wrong-key", keyring=str(path)), 5)
    assert isinstance(error, PermissionDenied)
    assert "client.admin" in str(error)


async def test_unknown_user(one_osd: CephCluster, tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    path.write_text(keyring("client.nobody", new_key()))
    conf = one_osd.client_conf("unknown-user", keyring=str(path))
    error = await refused(conf, 5, "client.nobody")
    assert isinstance(error, PermissionDenied)
    assert "client.nobody" in str(error)


async def test_no_keyring(one_osd: CephCluster) -> None:
    error = await refused(one_osd.conf_path, 5, "client.keyless")
    assert "client.keyless" in str(error)
    assert "keyring" in str(error)


async def test_keys_where_the_cluster_wants_none(no_auth: CephCluster, tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    path.write_text(keyring("client.admin", new_key()))
    conf = no_auth.client_conf("cephx", auth_client_required="cephx", keyring=str(path))
    error = await refused(conf, 5)
    assert "cephx" in str(error)


async def test_no_keys_where_the_cluster_wants_them(one_osd: CephCluster) -> None:
    error = await refused(one_osd.client_conf("none", auth_client_required="none"), 5)
    assert "none" in str(error)


@pytest.mark.parametrize(
    "caps", [{"mon": "allow r"}, {"mon": "allow r", "osd": "allow * pool=other"}], ids=["none", "other"]
)
async def test_no_capabilities_on_osds(one_osd: CephCluster, caps: dict[str, str]) -> None:
    name = f"client.capless{len(caps)}"
    conf = one_osd.client_conf(name, keyring=str(one_osd.add_user(name, caps)))
    async with Rados(conf, name=name) as cluster, cluster.open_ioctx(POOL) as ioctx:
        with pytest.raises(PermissionDenied):
            await ioctx.write_full("x", b"")
        with pytest.raises(PermissionDenied):
            await ioctx.read("x")


async def test_capabilities_to_read_only(one_osd: CephCluster) -> None:
    one_osd.peer().call(POOL, "write_full", "readable", b"yes")
    name = "client.reader"
    conf = one_osd.client_conf(
        name, keyring=str(one_osd.add_user(name, {"mon": "allow r", "osd": f"allow r pool={POOL}"}))
    )
    async with Rados(conf, name=name) as cluster, cluster.open_ioctx(POOL) as ioctx:
        assert await ioctx.read("readable") == b"yes"
        with pytest.raises(PermissionDenied) as error:
            await ioctx.write_full("readable", b"no")
        assert "readable" in str(error.value)
        with pytest.raises(PermissionDenied):
            await cluster.pool_create("mine")
        assert (await cluster.mon_command({"prefix": "osd pool create", "pool": "mine"})).result == -13


async def test_no_capabilities_on_monitors(one_osd: CephCluster) -> None:
    """Monitors don't answer such a client at all: it can log in, and gets no map."""
    name = "client.monless"
    conf = one_osd.client_conf(name, keyring=str(one_osd.add_user(name, {"osd": "allow *"})))
    error = await refused(conf, 3, name)
    assert name in str(error)


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port that takes connections and says nothing."""
    writers = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_nobody_listens(one_osd: CephCluster) -> None:
    error = await refused(one_osd.client_conf("away", mon_host=f"v2:{one_osd.address}:9"), 1)
    assert isinstance(error, TimedOut)
    assert f"{one_osd.address}:9" in str(error)


async def test_a_black_hole(one_osd: CephCluster) -> None:
    async with black_hole() as port:
        error = await refused(one_osd.client_conf("hole", mon_host=f"v2:127.0.0.1:{port}"), 1)
        assert isinstance(error, TimedOut)
        assert f"127.0.0.1:{port}" in str(error)


async def test_another_service_answers(one_osd: CephCluster) -> None:
    """A port where something else listens, which talks first."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP; say hello\r\n")
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(one_osd.client_conf("mail", mon_host=f"v2:127.0.0.1:{port}"), 1)
        assert f"127.0.0.1:{port}" in str(error)


async def test_a_host_without_address(one_osd: CephCluster) -> None:
    error = await refused(one_osd.client_conf("dns", mon_host="no-such-host.invalid"), 5)
    assert "no-such-host.invalid" in str(error)


async def test_the_address_of_an_osd_as_monitor(one_osd: CephCluster) -> None:
    address = one_osd.ceph("osd", "find", "0")["addrs"]["addrvec"][0]["addr"]
    error = await refused(one_osd.client_conf("osd-as-mon", mon_host=f"v2:{address}"), 1)
    assert address in str(error)


async def test_connections_leave_nothing_behind(one_osd: CephCluster) -> None:
    """Neither tasks nor descriptors, after connects that worked and connects that did not."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    away = one_osd.client_conf("away", mon_host=f"v2:{one_osd.address}:9")
    counts = []
    for _ in range(3):
        async with Rados(one_osd.conf_path) as cluster:
            await write_and_read(cluster)
        await refused(away, 0.1)
        await asyncio.sleep(0)
        counts.append((descriptors(), len(asyncio.all_tasks())))
    assert counts[1] == counts[2]
    assert counts[2][1] == 1
