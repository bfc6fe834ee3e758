"""`cove rados` as a program, on a real cluster, beside Ceph's own `rados`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .ceph_cluster import CephCluster, eventually
from .conftest import POOL
from .peer import Librados
from .rados_cli import Cove

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 5, 4 * MIB, 17 * MIB + 3])
def test_files_there_and_back(cove: Cove, one_osd: CephCluster, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "in").write_bytes(data)
    cove("-p", POOL, "put", "cli", tmp_path / "in")
    one_osd.rados("-p", POOL, "get", "cli", tmp_path / "theirs")
    assert (tmp_path / "theirs").read_bytes() == data
    cove("-p", POOL, "get", "cli", tmp_path / "ours")
    assert (tmp_path / "ours").read_bytes() == data
    assert cove.json("-p", POOL, "stat", "cli")["size_bytes"] == size
    cove("-p", POOL, "rm", "cli")


def test_streams_and_namespaces(cove: Cove, librados: Librados) -> None:
    result = cove.program("-p", POOL, "-N", "cli", "put", "ünï code", "-", stdin=b"piped")
    assert (result.stdout, result.stderr) == ("put ünï code 5 B\n".encode(), b"")
    result = cove.program("-p", POOL, "-N", "cli", "get", "ünï code", "-")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"piped", b"")
    result = cove.program("-p", POOL, "get", "nope", "-")
    assert (result.returncode, result.stdout, result.stderr.count(b"\n")) == (1, b"", 1)
    assert librados.read(POOL, "ünï code", nspace="cli") == b"piped"
    librados.call(POOL, "write_full", "theirs", b"2", nspace="cli", locator="where")
    assert cove("-p", POOL, "-N", "cli", "--locator", "where", "get", "theirs", "-") == b"2"
    assert sorted(cove("-p", POOL, "-N", "cli", "ls").decode().splitlines()) == ["theirs", "ünï code"]
    assert b"cli\ttheirs\twhere\n" in cove("-p", POOL, "ls", "--all")
    listed = cove.json("-p", POOL, "ls", "--all")
    assert {"name": "theirs", "namespace": "cli", "locator": "where"} in listed


def test_lspools_and_df(cove: Cove, one_osd: CephCluster, librados: Librados) -> None:
    assert [pool["pool"] for pool in cove.json("lspools")] == librados.ask("pools")
    librados.call(POOL, "write_full", "df", bytes(MIB))

    def same() -> bool:
        theirs = json.loads(one_osd.rados("df", "--format", "json"))
        ours = cove.json("df")
        fields = {
            "name": "pool",
            "id": "id",
            "size_bytes": "used_bytes",
            "num_objects": "objects",
            "num_object_clones": "clones",
            "num_object_copies": "copies",
            "num_objects_degraded": "degraded",
            "num_objects_unfound": "unfound",
            "read_ops": "reads",
            "read_bytes": "read_bytes",
            "write_ops": "writes",
            "write_bytes": "written_bytes",
        }
        expected = [{mine: pool[their] for their, mine in fields.items()} for pool in theirs["pools"]]
        expected.sort(key=lambda pool: int(pool["id"]))  # theirs are in no order
        found = [{mine: pool[mine] for mine in fields.values()} for pool in ours["pools"]]
        totals = [int(theirs[key]) * 1024 for key in ("total_used", "total_avail", "total_space")]
        return (
            found == expected
            and totals == [ours["used_bytes"], ours["available_bytes"], ours["total_bytes"]]
            and any(pool["objects"] for pool in found)
        )

    eventually(same, "the same figures as `rados df`", 30)
    assert b"cluster" in cove("df")


def test_bench(cove: Cove) -> None:
    rows = cove.json("-p", POOL, "-N", "bench", "bench", "--seconds", "0.3", "--size", "4K", "--objects", "32")
    assert [row["what"] for row in rows] == ["write", "read"]
    assert all(row["ops_per_s"] > 10 for row in rows)
    assert cove("-p", POOL, "-N", "bench", "ls") == b""


def test_bench_that_is_interrupted_cleans_up(cove: Cove) -> None:
    command = cove.command("-c", cove.conf, "-p", POOL, "-N", "interrupted", "bench", "--seconds", "50", "--size", "4K")
    with subprocess.Popen(command, env=cove.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        eventually(lambda: cove("-p", POOL, "-N", "interrupted", "ls"), "objects of the benchmark", 20)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 130
    assert cove("-p", POOL, "-N", "interrupted", "ls") == b""


def test_trace(cove: Cove, one_osd: CephCluster, librados: Librados) -> None:
    librados.call(POOL, "write_full", "traced", bytes(1000))
    theirs = one_osd.ceph("osd", "map", POOL, "traced")
    first, second = cove.json("-p", POOL, "trace", "traced")["passes"]
    (place,) = second["places"]
    assert (place["epoch"], place["pg"], place["acting"]) == (theirs["epoch"], theirs["pgid"], theirs["acting"])
    assert f"{theirs['pool_id']}.{place['hash'].lstrip('0')}" == theirs["raw_pgid"]
    assert place["address"].startswith(f"v2:{one_osd.address}:")
    assert "connected" in [stage["stage"] for stage in first["stages"]]
    assert "connected" not in [stage["stage"] for stage in second["stages"]]
    assert second["bytes_in"] == 1000
    assert all(0 < one["total_us"] < 10e6 for one in (first, second))
    shown = cove("-p", POOL, "trace", "traced").decode()
    assert "connect to the OSD" in shown
    assert "osd.0" in shown


# errors: one line, and soon


def test_errors(cove: Cove, one_osd: CephCluster, tmp_path: Path) -> None:
    assert "'nope'" in cove.refused("-p", POOL, "stat", "nope")
    assert "'nope'" in cove.refused("-p", POOL, "get", "nope", tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert POOL in cove.refused("-p", "no pool", "ls")
    assert "nofile" in cove.refused("-p", POOL, "put", "x", tmp_path / "nofile")
    assert "client.nobody" in cove.refused("--id", "nobody", "lspools")
    assert "/nonexistent" in cove.refused("-c", "/nonexistent", "lspools")
    assert cove.run("ls").returncode == 2


def test_the_cluster_is_away(cove: Cove, one_osd: CephCluster) -> None:
    conf = one_osd.client_conf("cli-away", mon_host=f"v2:{one_osd.address}:9")
    began = time.monotonic()
    text = cove.refused("-c", conf, "--connect-timeout", "0.5", "lspools")
    assert time.monotonic() - began < 5
    assert f"{one_osd.address}:9" in text


def test_no_permission(cove: Cove, one_osd: CephCluster) -> None:
    keyring = one_osd.add_user("client.looker", {"mon": "allow r", "osd": "allow r"})
    user = ("-n", "client.looker", "-k", keyring, "-p", POOL)
    assert "not permitted" in cove.refused(*user, "put", "forbidden", "-")
    assert b"rbd" in cove(*user, "lspools")


def test_the_environment_says_which_cluster(cove: Cove, one_osd: CephCluster) -> None:
    environment = cove.environment | {"CEPH_CONF": str(one_osd.conf_path), "CEPH_ARGS": "--id admin"}
    result = subprocess.run(cove.command("lspools"), capture_output=True, timeout=60, env=environment, check=True)
    assert b"rbd" in result.stdout
