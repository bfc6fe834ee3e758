"""How a Rados finds its cluster: options, files, the environment; what it takes over from them."""

from __future__ import annotations

import asyncio
import base64
import errno
import socket
from pathlib import Path

import pytest

from cove.messenger import LoopbackNetwork
from cove.rados import (
    Cancelled,
    CephTransport,
    InvalidArgument,
    LoopbackTransport,
    NotConnected,
    ObjectNotFound,
    Rados,
    RadosConf,
    TimedOut,
)
from cove.rados.cephconf import load_conf
from cove.rados.conf import NEVER_S

KEY = base64.b64encode(b"\1\0" + bytes(8) + b"\x10\0" + bytes(range(16))).decode()
OPTIONS = {"mon_host": "v2:127.0.0.1:1/0", "key": KEY}


def test_options() -> None:
    client = Rados(OPTIONS | {"rados_osd_op_timeout": "7", "objecter_inflight_ops": "12"}, name="client.b")
    assert client.name == "client.b"
    assert client.conf == RadosConf(osd_op_timeout_s=7.0, inflight_ops_max=12)
    assert isinstance(client.transport, CephTransport)
    assert Rados(OPTIONS).conf.connect_timeout_s == 30
    never = Rados(
        OPTIONS | {"rados_mon_op_timeout": "0", "client_mount_timeout": "0", "rados_osd_op_timeout": "0"}
    ).conf
    assert (never.mon_op_timeout_s, never.connect_timeout_s, never.osd_op_timeout_s) == (NEVER_S, NEVER_S, 0)
    own = RadosConf(osd_op_timeout_s=1)
    assert Rados(OPTIONS | {"rados_osd_op_timeout": "7"}, conf=own).conf is own


def test_times_of_the_monitor_session() -> None:
    conf = CephTransport(
        load_conf(OPTIONS | {"mon_client_hunt_parallel": "2", "mon_client_ping_timeout": "5"})
    ).mon_conf
    assert (conf.hunt.parallel, conf.ping_timeout_s, conf.ping_interval_s) == (2, 5, 10)
    for wrong in ("x", "0", "-1", "nan", "inf"):
        with pytest.raises(InvalidArgument, match="mon_client_hunt_interval"):
            Rados(OPTIONS | {"mon_client_hunt_interval": wrong})


def test_files_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf, keyring = tmp_path / "ceph.conf", tmp_path / "keyring"
    conf.write_text(f"[global]\nmon_host = 127.0.0.1\nkeyring = {keyring}\n")
    with pytest.raises(ObjectNotFound, match="does not exist"):
        Rados(tmp_path / "absent.conf")
    keyring.write_text(f"[client.a]\nkey = {KEY}\n")
    assert Rados(conf, name="client.a").name == "client.a"
    monkeypatch.setenv("CEPH_CONF", str(conf))
    monkeypatch.setenv("CEPH_ARGS", "--name client.a")
    assert Rados().name == "client.a"
    other = tmp_path / "other"
    other.write_text(f"[client.c]\nkey = {KEY}\n")
    assert Rados(str(conf), name="client.c", keyring=other).name == "client.c"
    assert Rados(conf, name="client.d", key=KEY).name == "client.d"
    with pytest.raises(InvalidArgument) as caught:
        Rados(conf, key=KEY[:-6])
    assert KEY[:-6] not in str(caught.value)


def test_what_does_not_go_together() -> None:
    with pytest.raises(InvalidArgument, match="a Config or transport knows"):
        Rados(LoopbackTransport(LoopbackNetwork()), key=KEY)
    with pytest.raises(InvalidArgument, match=r"client\.NAME"):
        Rados(OPTIONS, name="osd.1")


async def test_no_monitors_are_known() -> None:
    with pytest.raises(InvalidArgument, match="no monitors are known: the options given"):
        await Rados({"key": KEY, "mon_dns_srv_name": ""}).connect()


async def test_host_names(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = CephTransport(load_conf({"mon_host": "mon.example:3301 absent.example 127.0.0.9", "key": KEY}))

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host == "absent.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (ip, port)) for ip in ("127.0.0.7", "::1", "127.0.0.7")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    found = [monitor.address for monitor in await transport.find_monitors()]
    assert found == ["v2:127.0.0.7:3301/0", "v2:[::1]:3301/0", "v2:127.0.0.9:3300/0"]
    nobody = Rados({"mon_host": "absent.example", "key": KEY})
    with pytest.raises(NotConnected, match=r"absent\.example: Name or service not known"):
        await nobody.connect(1)
    with pytest.raises(NotConnected):
        _ = nobody.monclient


async def test_a_host_name_that_can_not_be_one() -> None:
    with pytest.raises(NotConnected, match="no monitor of mon_host has an address"):
        await Rados(OPTIONS | {"mon_host": "a" * 64}).connect(5)


async def test_nobody_there_is_told_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_port = silent.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as gone:
            gone_port = gone.getsockname()[1]
        client = Rados(OPTIONS | {"mon_host": f"127.0.0.1:{gone_port},127.0.0.1:{silent_port}"})
        with pytest.raises(TimedOut) as caught:
            await client.connect(0.1)
    text = str(caught.value)
    assert caught.value.errno == errno.ETIMEDOUT
    assert f"127.0.0.1:{gone_port}/0: connection refused" in text
    assert f"127.0.0.1:{silent_port}/0: no answer" in text
    assert KEY not in text


async def test_a_connect_that_is_cancelled_leaves_no_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Rados(OPTIONS | {"mon_host": f"127.0.0.1:{silent.getsockname()[1]}"})
        task = asyncio.ensure_future(client.connect())
        accepted, _ = await asyncio.to_thread(silent.accept)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        accepted.settimeout(5)
        while await asyncio.to_thread(accepted.recv, 4096):
            pass
        accepted.close()
        with pytest.raises(NotConnected):
            _ = client.objecter


@pytest.mark.parametrize("turns", range(12))
async def test_shutdown_ends_a_connect_at_any_moment(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        await asyncio.sleep(0)
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Rados(OPTIONS | {"mon_host": f"mon.example:{silent.getsockname()[1]}"})
        connecting = asyncio.ensure_future(client.connect(10))
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.shutdown()
        if not turns:
            connecting.cancel()  # it had not even begun
        with pytest.raises((Cancelled, NotConnected, asyncio.CancelledError)):
            await asyncio.wait_for(connecting, 2)
        with pytest.raises(NotConnected):
            _ = client.monclient
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_name_that_takes_too_long_hides_no_other_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = CephTransport(load_conf({"mon_host": "slow.example 127.0.0.9", "key": KEY}))
    monkeypatch.setattr("cove.rados.transport.LOOKUP_TIMEOUT_S", 0.01)

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert [monitor.address for monitor in await transport.find_monitors()] == ["v2:127.0.0.9:3300/0"]
    nobody = Rados({"mon_host": "slow.example", "key": KEY})
    with pytest.raises(NotConnected, match=r"slow\.example: no answer within 0\.01 s"):
        await nobody.connect(1)
