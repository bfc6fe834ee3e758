"""`cove rados` on attributes, object maps, snapshots, locks and watches, beside Ceph's own `rados`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

from .ceph_cluster import CephCluster, eventually
from .conftest import POOL
from .peer import Librados
from .rados_cli import Cove


def theirs(cluster: CephCluster, *words: str, stdin: bytes | None = None) -> bytes:
    return cluster.rados("-p", POOL, *words, stdin=stdin)


def ours(cove: Cove, *words: str | Path, stdin: bytes = b"") -> bytes:
    return cove("-p", POOL, *words, stdin=stdin)


def test_attributes_and_maps(cove: Cove, one_osd: CephCluster) -> None:
    ours(cove, "setxattr", "cli-a", "one", stdin=b"\0\xff")
    theirs(one_osd, "setxattr", "cli-a", "two", "zwei")
    assert theirs(one_osd, "getxattr", "cli-a", "one") == b"\0\xff"
    assert ours(cove, "getxattr", "cli-a", "two") == b"zwei"
    assert [row["attribute"] for row in cove.json("-p", POOL, "listxattr", "cli-a")] == ["one", "two"]
    ours(cove, "rmxattr", "cli-a", "one")
    assert theirs(one_osd, "listxattr", "cli-a") == b"two\n"
    ours(cove, "setomapval", "cli-a", "k1", "v1")
    theirs(one_osd, "setomapval", "cli-a", "k2", "v2")
    assert ours(cove, "listomapkeys", "cli-a") == theirs(one_osd, "listomapkeys", "cli-a") == b"k1\nk2\n"
    assert ours(cove, "getomapval", "cli-a", "k2") == b"v2"
    ours(cove, "setomapheader", "cli-a", "head")
    assert b"|head|" in theirs(one_osd, "getomapheader", "cli-a")
    ours(cove, "rmomapkey", "cli-a", "k1")
    assert theirs(one_osd, "listomapkeys", "cli-a") == b"k2\n"
    ours(cove, "clearomap", "cli-a")
    assert theirs(one_osd, "listomapkeys", "cli-a") == b""


def test_data(cove: Cove, one_osd: CephCluster, librados: Librados) -> None:
    ours(cove, "put", "cli-d", "-", stdin=b"0123456789")
    ours(cove, "put", "cli-d", "-", "--offset", "3", stdin=b"xyz")
    ours(cove, "append", "cli-d", "-", stdin=b"!")
    assert librados.read(POOL, "cli-d") == b"012xyz6789!"
    ours(cove, "truncate", "cli-d", "5")
    assert librados.read(POOL, "cli-d") == b"012xy"
    assert cove.json("-p", POOL, "mapext", "cli-d") == [{"offset": 0, "length": 5}]
    ours(cove, "touch", "cli-d", "1000000000.5")
    assert b"2001-09-09T01:46:40.500000" in theirs(one_osd, "stat2", "cli-d")
    theirs(one_osd, "touch", "cli-d", "1500000000")
    assert cove.json("-p", POOL, "stat2", "cli-d")["modified"] == "2017-07-14T02:40:00.000000000+00:00"
    ours(cove, "create", "cli-empty")
    assert "is there already" in cove.refused("-p", POOL, "create", "cli-empty")
    ours(cove, "set-alloc-hint", "cli-d", "4096", "512")
    ours(cove, "rm", "--force-full", "cli-d", "cli-empty")


def test_listings_in_parts(cove: Cove, librados: Librados) -> None:
    for number in range(30):
        librados.call(POOL, "write_full", f"o{number}", b"", nspace="parts")
    command = ("-p", POOL, "-N", "parts", "ls")
    whole = cove(*command).decode().split()
    assert len(whole) == 30
    found: list[str] = []
    start: list[str] = []
    for _ in range(4):
        result = cove.run(*command, "--limit", "8", *start)
        assert result.returncode == 0, result.stderr
        found += result.stdout.decode().split()
        more = re.search(r"--start '(.*)'", result.stderr.decode())
        if more is None:
            break
        start = ["--start", more[1]]
    assert found == whole
    assert [name for part in (1, 2, 3) for name in cove(*command, "--slice", f"{part}/3").decode().split()] == whole
    assert cove.run(*command, "--slice", "4/3").returncode == 2
    assert b"no cursor" in cove.run(*command, "--start", "nonsense").stderr


def test_snapshots(cove: Cove, one_osd: CephCluster, tmp_path: Path) -> None:
    pool = "cli-snaps"
    one_osd.create_pool(pool, 4)

    def their(*words: str) -> bytes:
        return one_osd.rados("-p", pool, *words)

    cove("-p", pool, "put", "x", "-", stdin=b"first")
    cove("-p", pool, "mksnap", "s1")
    cove("-p", pool, "put", "x", "-", stdin=b"the second")
    their("mksnap", "s2")
    cove("-p", pool, "rm", "x")
    rows = cove.json("-p", pool, "lssnap")
    assert [(row["snapshot"], row["id"]) for row in rows] == [("s1", 1), ("s2", 2)]
    assert b"1\ts1" in their("lssnap")
    assert cove("-p", pool, "-s", "s1", "get", "x", "-") == b"first"
    assert cove("-p", pool, "--snapid", "2", "get", "x", "-") == b"the second"
    listed = json.loads(their("listsnaps", "x", "--format", "json"))
    mine = cove.json("-p", pool, "listsnaps", "x")
    assert [(c["id"], c["size"], c["snapshots"]) for c in listed["clones"]] == [
        (c["clone"], c["size_bytes"], c["snapshots"]) for c in mine["clones"]
    ]
    assert b"s1" in cove("-p", pool, "listsnaps", "x")
    cove("-p", pool, "-s", "s1", "export", tmp_path / "dump")
    cove("-p", pool, "rollback", "x", "s2")
    assert their("get", "x", "-") == b"the second"
    cove("-p", pool, "import", tmp_path / "dump")
    assert their("get", "x", "-") == b"first"
    assert "cove rados lssnap" in cove.refused("-p", pool, "-s", "nope", "get", "x", "-")
    assert cove.run("-p", pool, "-s", "s1", "put", "x", "-").returncode == 2
    cove("-p", pool, "rmsnap", "s1")
    assert b"s1" not in their("lssnap")


def test_locks(cove: Cove, one_osd: CephCluster) -> None:
    ours(cove, "lock", "get", "cli-l", "mine", "--lock-cookie", "c", "--lock-description", "words")
    info = json.loads(theirs(one_osd, "lock", "info", "cli-l", "mine"))
    (locker,) = cove.json("-p", POOL, "lock", "info", "cli-l", "mine")["lockers"]
    assert info["type"] == "exclusive"
    assert [(x["name"], x["cookie"], x["description"], x["addr"]) for x in info["lockers"]] == [
        (locker["locker"], locker["cookie"], locker["description"], locker["address"])
    ]
    assert "is held" in cove.refused("-p", POOL, "lock", "get", "cli-l", "mine")
    theirs(one_osd, "lock", "get", "cli-l", "ours", "--lock-type", "shared", "--lock-tag", "t")
    ours(cove, "lock", "get", "cli-l", "ours", "--lock-type", "shared", "--lock-tag", "t", "--lock-duration", "100")
    found = {lock["lock"]: lock for lock in cove.json("-p", POOL, "lock", "list", "cli-l")}
    assert (found["ours"]["type"], found["ours"]["tag"], len(found["ours"]["lockers"])) == ("shared", "t", 2)
    assert b"words" in ours(cove, "lock", "info", "cli-l", "mine")
    assert "does not hold" in cove.refused("-p", POOL, "lock", "break", "cli-l", "mine", "client.1")
    assert cove.run("-p", POOL, "lock", "break", "cli-l", "mine", "nobody").returncode == 2
    ours(cove, "lock", "break", "cli-l", "mine", locker["locker"], "--lock-cookie", "c")
    assert cove.json("-p", POOL, "lock", "info", "cli-l", "mine")["lockers"] == []


def test_watch_and_notify(cove: Cove, one_osd: CephCluster) -> None:
    ours(cove, "put", "cli-w", "-")
    command = cove.command("-c", cove.conf, "-p", POOL, "watch", "cli-w", "--reply", "heard", "--format", "json")
    with subprocess.Popen(command, env=cove.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
        eventually(lambda: cove.json("-p", POOL, "listwatchers", "cli-w"), "the watch", 20)
        assert b"client." in theirs(one_osd, "listwatchers", "cli-w")
        (answer,) = cove.json("-p", POOL, "notify", "cli-w", "hello")["answers"]
        assert answer["value"] == "heard"
        assert b"heard" in theirs(one_osd, "notify", "cli-w", "from them")
        watcher.send_signal(signal.SIGSTOP)
        result = cove.run("-p", POOL, "notify", "cli-w", "lost", "--timeout", "1")
        assert result.returncode == 1
        assert b"missing" in result.stdout
        assert b"1 watcher did not answer within 1 s" in result.stderr
        watcher.send_signal(signal.SIGCONT)
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=20)
        assert watcher.returncode == 130, err
        assert b"Traceback" not in err
    told = [json.loads(line) for line in out.splitlines()]
    assert [notification["value"] for notification in told[:1]] == ["hello"]
    assert cove.json("-p", POOL, "listwatchers", "cli-w") == []
    assert cove.json("-p", POOL, "notify", "cli-w", "alone") == {"answers": [], "missed": []}
    assert "'nope'" in cove.refused("-p", POOL, "watch", "nope")
