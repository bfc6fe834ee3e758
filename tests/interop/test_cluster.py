"""The cluster as a whole: pools, space, commands; each beside what Ceph's own tools say."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from typing import Any

import pytest

from cove.rados import InvalidArgument, ObjectExists, ObjectNotFound, Rados

from .ceph_cluster import CephCluster
from .conftest import POOL
from .peer import Librados


async def test_fsid_and_pools(client: Rados, librados: Librados) -> None:
    assert str(client.fsid) == librados.ask("fsid")
    assert client.pool_list() == librados.ask("pools")


async def test_pool_life(one_osd: CephCluster, client: Rados, librados: Librados) -> None:
    number = await client.pool_create("made-by-us")
    assert {"poolnum": number, "poolname": "made-by-us"} in librados.mon("osd lspools")
    with pytest.raises(ObjectExists):
        await client.pool_create("made-by-us")
    async with client.open_ioctx("made-by-us") as ioctx:
        await ioctx.write_full("x", b"1")
    await client.pool_delete("made-by-us")
    assert "made-by-us" not in librados.ask("pools")
    with pytest.raises(ObjectNotFound) as refused:
        await client.open_ioctx("made-by-us")
    assert POOL in str(refused.value)
    other = one_osd.create_pool("made-by-them")
    async with client.open_ioctx("made-by-them") as ioctx:
        assert ioctx.pool_id == other
        await ioctx.write_full("x", b"1")
        librados.mon("osd pool delete", pool="made-by-them", pool2="made-by-them", yes_i_really_really_mean_it=True)
        await client.wait_for_latest_map()
        with pytest.raises(ObjectNotFound):
            await ioctx.read("x")


async def test_cluster_stat_equals_ceph_df(one_osd: CephCluster, client: Rados, librados: Librados) -> None:
    librados.call(POOL, "write_full", "stat", bytes(1 << 20))
    deadline = time.monotonic() + 30
    while True:  # the figures move for a while, and are asked for one after the other
        ours = await client.cluster_stat()
        theirs = librados.ask("cluster_stat")
        df = one_osd.ceph("df")["stats"]
        if ours._asdict() == theirs and ours.kb_used == df["total_used_raw_bytes"] // 1024 and ours.num_objects:
            break
        assert time.monotonic() < deadline, (ours, theirs)
        await asyncio.sleep(0.2)
    assert ours.kb * 1024 == df["total_bytes"]
    rados_df = json.loads(one_osd.rados("df", "--format", "json"))
    assert int(rados_df["total_objects"]) == ours.num_objects
    assert int(rados_df["total_used"]) == ours.kb_used


COMMANDS: list[dict[str, Any]] = [
    {"prefix": "osd dump"},
    {"prefix": "osd tree"},
    {"prefix": "osd crush dump"},
    {"prefix": "osd pool ls", "detail": "detail"},
    {"prefix": "osd pool get", "pool": POOL, "var": "all"},
    {"prefix": "osd erasure-code-profile get", "name": "default"},
    {"prefix": "mon dump"},
    {"prefix": "auth ls"},
    {"prefix": "config dump"},
    {"prefix": "config get", "who": "osd.0"},
    {"prefix": "osd metadata", "id": 0},
    {"prefix": "features"},
    {"prefix": "get_command_descriptions"},
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command["prefix"])
async def test_monitor_commands(client: Rados, librados: Librados, command: dict[str, Any]) -> None:
    ours = await client.mon_command(command | {"format": "json"})
    code, output, status = librados.command("mon", format="json", **command)
    if command["prefix"] != "features":  # which counts the clients
        assert ours.outbuf == output
    assert ours.json() is not None
    assert (ours.result, ours.status) == (code, status) == (0, status)


async def test_equal_to_the_ceph_tool(one_osd: CephCluster, client: Rados) -> None:
    for words in ("osd dump", "osd df", "pg ls", "health detail", "mgr dump", "config dump"):
        prefix, *detail = words.split(" detail")
        command = {"prefix": prefix, "format": "json"} | ({"detail": "detail"} if detail else {})
        ours = (await client.mon_command(command)).check().json()
        theirs = one_osd.ceph(*words.split())
        assert _without_times(ours) == _without_times(theirs), words


def _without_times(value: Any) -> Any:
    """What changes from one moment to the next is left out."""
    volatile = ("stat", "stamp", "kb", "utilization", "state", "var", "deviation", "last_", "since", "version", "count")
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if not any(word in key for word in volatile)}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("prefix", ["pg dump", "osd df", "balancer status"])
async def test_manager_commands(client: Rados, librados: Librados, prefix: str) -> None:
    ours = (await client.mgr_command({"prefix": prefix, "format": "json"})).check()
    code, output, _ = librados.command("mgr", prefix=prefix, format="json")
    assert code == 0
    assert _without_times(ours.json()) == _without_times(json.loads(output))


@pytest.mark.parametrize("target", ["mon", "mgr"])
async def test_commands_that_are_refused(client: Rados, librados: Librados, target: str) -> None:
    send = client.mon_command if target == "mon" else client.mgr_command
    commands: list[dict[str, Any]] = [
        {"prefix": "no such command"},
        {"prefix": "osd pool get", "pool": "none", "var": "size"},
    ]
    for command in commands:
        ours = await send(command)
        code, output, status = librados.command(target, **command)
        assert ours.result == code < 0
        assert (ours.status, ours.outbuf) == (status, output)
    with pytest.raises(InvalidArgument):
        (await send({"prefix": "no such command"})).check()


async def test_commands_with_input(client: Rados, librados: Librados) -> None:
    text = "no utf-8 needed: \x01 ünï".encode()
    command = {"prefix": "config-key set", "key": "cove/test"}
    (await client.mon_command(command, text)).check()
    assert librados.command("mon", prefix="config-key get", key="cove/test")[1] == text
    got = await client.mon_command({"prefix": "config-key get", "key": "cove/test"})
    assert got.outbuf == text
    missing = await client.mon_command({"prefix": "config-key get", "key": "cove/none"})
    assert missing.result == -errno.ENOENT


async def test_many_commands_at_once(client: Rados) -> None:
    commands = ({"prefix": "osd map", "pool": POOL, "object": f"{n}", "format": "json"} for n in range(200))
    answers = await asyncio.gather(*(client.mon_command(command) for command in commands))
    assert [answer.json()["objname"] for answer in answers] == [f"{n}" for n in range(200)]


async def test_a_command_that_changes_the_map_is_followed_by_its_map(client: Rados) -> None:
    """Who makes a pool by a command can open it at once."""
    command = {"prefix": "osd pool create", "pool": "by-command", "pg_num": 4}
    (await client.mon_command(command)).check()
    async with client.open_ioctx("by-command") as ioctx:
        await ioctx.write_full("x", b"1")
    await client.pool_delete("by-command")
