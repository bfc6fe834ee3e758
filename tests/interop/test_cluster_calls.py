"""Calls about the cluster, on a real one, compared with what librados gives or sees. Nothing here changes the map
of OSDs; what does is in test_cluster_changes.py."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from cove.rados import Config, InvalidArgument, IoCtx, LogLine, ObjectNotFound, PermissionDenied, Rados
from cove.rados.dns_message import Answer
from cove.rados.dns_srv import DnsConf
from tests.unit.rados.dns_server import SRV, A, name_server, response

from .ceph_cluster import CephCluster
from .peer import Librados, LibradosError

RELEASES = {
    10: "jewel",
    12: "luminous",
    14: "nautilus",
    15: "octopus",
    16: "pacific",
    17: "quincy",
    18: "reef",
    19: "squid",
    20: "tentacle",
}


async def eventually(probe: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Ask, off the event loop, until the answer is true."""
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(probe):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.05)


def answer_of(peer: Librados, method: str, *arguments: object) -> object:
    """What a method of python3-rados' client returns, or the number of its error."""
    try:
        return peer.ask("cluster_call", method, *arguments)
    except LibradosError as problem:
        return problem.result


@pytest.mark.parametrize(
    ("osd", "command"),
    [
        (0, {"prefix": "version"}),
        (0, {"prefix": "config get", "var": "osd_objectstore", "format": "json"}),
        (0, {"prefix": "nonsense"}),
        (0, {"prefix": "config get", "var": "nonsense"}),
        (7, {"prefix": "version"}),
    ],
)
async def test_osd_commands(client: Rados, librados: Librados, osd: int, command: dict[str, Any]) -> None:
    result = await client.osd_command(osd, command)
    code, output, _ = librados.command(osd, **command)
    assert (result.result, result.outbuf) == (code, output)


async def test_pg_commands(client: Rados, librados: Librados) -> None:
    for pgid in ("1.0", "1.7", "99.0"):
        command = {"prefix": "query", "pgid": pgid, "format": "json"}
        result = await client.pg_command(pgid, command)
        code, output, _ = librados.ask("pg_command", pgid, command)
        assert result.result == code
        if not code:
            ours, theirs = result.json(), json.loads(output)
            assert ours.keys() == theirs.keys()
            assert (ours["state"], ours["acting"]) == (theirs["state"], theirs["acting"])
    with pytest.raises(InvalidArgument):
        await client.pg_command("rubbish", {"prefix": "query"})


async def test_telling_one_monitor(client: Rados, librados: Librados) -> None:
    for target in ("a", "mon.a", 0):
        status = (await client.mon_command({"prefix": "mon_status", "format": "json"}, target=target)).check().json()
        assert (status["name"], status["rank"]) == ("a", 0)
    for command in ({"prefix": "version"}, {"prefix": "nonsense"}):
        result = await client.mon_command(command, target="a")
        code, output, _ = librados.ask("mon_command_target", "a", command)
        assert (result.result, result.outbuf) == (code, output)
    with pytest.raises(ObjectNotFound, match="the monitors are: a"):
        await client.mon_command({"prefix": "version"}, target="z")


async def test_telling_the_manager(client: Rados, librados: Librados) -> None:
    told = (await client.mgr_command({"prefix": "version"}, target="x")).check()
    assert json.loads(told.outbuf)["version"]
    assert (await client.mgr_command({"prefix": "version"}, target="y")).result == -2
    code, output, _ = librados.command("mgr", prefix="pg stat")
    assert code == 0
    ours = (await client.mgr_command({"prefix": "pg stat"})).check().outbuf
    # how many there are, and in what state, may change between the two questions
    for text in (ours, output):
        number, words, states = text.partition(b" pgs: ")
        assert int(number) >= 8
        assert words
        assert b"active+clean" in states


async def test_ping(one_osd: CephCluster, client: Rados) -> None:
    # librados is not asked here: 16.2's own ping_monitor sometimes ends its process
    answer = json.loads(await client.ping_monitor("a"))
    assert answer.keys() == {"health", "mon_status"}
    assert answer["mon_status"]["name"] == "a"
    with pytest.raises(ObjectNotFound):
        await client.ping_monitor("z")
    # without a session, and without the monitors' names
    assert json.loads(await Rados(one_osd.conf_path).ping_monitor("a"))["mon_status"]["rank"] == 0
    with pytest.raises(PermissionDenied):
        await Rados(one_osd.conf_path, key="AQAAAAAAAAAAABAAAAECAwQFBgcICQoLDA0ODw==").ping_monitor("a")


async def test_ourselves(client: Rados, librados: Librados) -> None:
    # its form is that of librados, and the cluster knows us by it
    theirs = str(answer_of(librados, "get_addrs"))
    assert client.addresses.rpartition("/")[0] == theirs.rpartition("/")[0]
    assert client.global_id != int(str(answer_of(librados, "get_instance_id")))
    assert str(client.fsid) == librados.ask("fsid")
    await client.wait_for_latest_map()
    dump = librados.mon("osd dump")
    numbers = (client.min_compatible_osd, *client.min_compatible_client)
    names = (dump["require_osd_release"], dump["min_compat_client"], dump["require_min_compat_client"])
    assert [RELEASES[number] for number in numbers] == list(names)


async def test_monitors_by_dns(one_osd: CephCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    service = "_ceph-mon._tcp.example.com"

    def zone(name: str, kind: int, query: bytes) -> bytes:
        if (name, kind) != (service, SRV):
            return response(query, [], rcode=3)
        where = Answer("mon-a.example.com", A, one_osd.address)
        return response(query, [Answer(service, SRV, "mon-a.example.com", 10, 20, 3300)], [where])

    options = {"keyring": f"{one_osd.directory}/client.admin.keyring"}
    async with name_server(zone, domains=("example.com",)) as (_, conf):
        monkeypatch.setattr(DnsConf, "load", lambda: conf)
        async with Rados(options) as client:
            assert str(client.fsid) == one_osd.fsid
        async with Rados(options | {"mon_dns_srv_name": "ceph-mon_example.com"}) as client:
            assert client.pool_name(1) == "rbd"
        with pytest.raises(InvalidArgument, match="no monitors are known"):
            await Rados(options | {"mon_dns_srv_name": "other"}).connect()


async def test_pool_calls(client: Rados, ioctx: IoCtx, librados: Librados) -> None:
    number = ioctx.pool_id
    assert client.pool_name(number) == answer_of(librados, "pool_reverse_lookup", number) == "rbd"
    assert client.pool_base_tier(number) == answer_of(librados, "get_pool_base_tier", number)
    with pytest.raises(ObjectNotFound):
        await client.pool_reverse_lookup(99)
    assert answer_of(librados, "pool_reverse_lookup", 99) is None
    assert await client.inconsistent_pgs(number) == answer_of(librados, "get_inconsistent_pgs", number) == []
    async with client.open_ioctx(number) as by_number:
        assert by_number.pool_name == "rbd"
    assert ioctx.requires_alignment() is False
    assert librados.call("rbd", "alignment") is None
    theirs = librados.call("rbd", "get_stats")
    ours = await ioctx.pool_stats()
    assert {"num_bytes", "num_objects", "num_object_copies"} <= theirs.keys()
    assert (ours.num_objects_unfound, ours.num_objects_degraded) == (0, 0)


async def test_application_metadata(client: Rados, ioctx: IoCtx, librados: Librados) -> None:
    assert ioctx.application_list() == librados.call("rbd", "application_list") == ["rbd"]
    await ioctx.application_metadata_set("rbd", "ours", "1")
    librados.call("rbd", "application_metadata_set", "rbd", "theirs", "2")
    await client.wait_for_latest_map()
    both = {"ours": "1", "theirs": "2"}
    assert ioctx.application_metadata_list("rbd") == both
    librados.ask("cluster_call", "wait_for_latest_osdmap")
    assert dict(librados.call("rbd", "application_metadata_list", "rbd")) == both
    assert ioctx.application_metadata_get("rbd", "theirs") == "2"
    for key in both:
        await ioctx.application_metadata_remove("rbd", key)
    await ioctx.application_metadata_remove("rbd", "was never there")
    assert ioctx.application_metadata_list("rbd") == {}
    with pytest.raises(PermissionDenied):
        await ioctx.application_enable("rgw")
    with pytest.raises(ObjectNotFound):
        await ioctx.application_metadata_set("rgw", "key", "value")
    with pytest.raises(LibradosError, match=r"\(-2\)"):
        librados.call("rbd", "application_metadata_set", "rgw", "key", "value")


async def test_the_cluster_log(client: Rados, librados: Librados) -> None:
    lines: list[LogLine] = []
    client.monitor_log("info", lines.append)
    librados.ask("monitor_log", "info")
    (await client.mon_command({"prefix": "log", "logtext": ["hello from a test"], "level": "info"})).check()
    (await client.mon_command({"prefix": "log", "logtext": ["trouble"], "level": "error"})).check()

    def both() -> bool:
        theirs = [line["msg"] for line in librados.ask("log_lines")]
        return all(
            text in theirs and text in [line.text for line in lines] for text in ("hello from a test", "trouble")
        )

    await eventually(both)
    theirs = {line["msg"]: line for line in librados.ask("log_lines")}
    for line in lines:
        if line.text in ("hello from a test", "trouble"):
            other = theirs[line.text]
            assert (other["who"], other["level"], other["seq"]) == (line.who, line.level, line.seq)
            assert other["line"] == line.line
            assert (other["sec"], other["nsec"]) == divmod(line.stamp_ns, 10**9)
    client.monitor_log("info", None)
    before = len(lines)
    (await client.mon_command({"prefix": "log", "logtext": ["unheard"], "level": "error"})).check()
    await eventually(lambda: any(line["msg"] == "unheard" for line in librados.ask("log_lines")))
    assert len(lines) == before


async def test_a_service_daemon(one_osd: CephCluster, librados: Librados) -> None:
    def daemons() -> dict[str, dict[str, object]]:
        services = librados.mon("service dump")["services"]
        return dict(services.get("gateway", {"daemons": {}})["daemons"])

    client = Rados(one_osd.conf_path)
    await client.service_daemon_register("gateway", "one", {"colour": "red"})
    async with client:
        await eventually(lambda: "one" in daemons())
        entry = daemons()["one"]
        assert entry["addr"] == client.addresses
        assert entry["gid"] == client.global_id
        metadata = entry["metadata"]
        assert isinstance(metadata, dict)
        assert metadata["colour"] == "red"
        assert {"hostname", "arch", "kernel_version", "mem_total_kb"} <= metadata.keys()
        for status in ({"state": "busy"}, {"state": "idle"}):
            await client.service_daemon_update(status)

            def seen(status: dict[str, str] = status) -> bool:
                shown = librados.mon("service status").get("gateway", {}).get("one", {})
                return bool(shown.get("status") == status)

            await eventually(seen)
        assert "gateway: 1 daemon active" in one_osd.run("ceph", "-c", one_osd.conf_path, "-s")
    await eventually(lambda: "one" not in daemons())


async def test_options(one_osd: CephCluster, client: Rados, librados: Librados) -> None:
    for option in ("fsid", "keyring", "osd_client_op_priority", "ms_type", "mon_dns_srv_name", "objecter_inflight_ops"):
        assert client.conf_get(option) == answer_of(librados, "conf_get", option), option
    for option in ("objecter_inflight_op_bytes", "client_notify_timeout", "debug_objecter", "log_to_stderr"):
        assert client.conf_get(option) == answer_of(librados, "conf_get", option), option
    assert client.conf_get("nonsense") == answer_of(librados, "conf_get", "nonsense")
    assert answer_of(librados, "conf_set", "nonsense", "1") == -2
    config = Config("client.admin")
    config.read_file(one_osd.conf_path)
    assert config.parse_arguments(["--rados-osd-op-timeout", "9", "ls"]) == ["ls"]
    async with Rados(config) as other:
        assert other.conf.osd_op_timeout_s == 9
        (await other.mon_command({"prefix": "version"})).check()
        other.conf_set("rados_mon_op_timeout", "5")
        assert other.conf_get("rados_mon_op_timeout") == "5"
