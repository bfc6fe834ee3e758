"""`cove rados export` and `import`, with the embedded store in place of a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cove.cli.rados_export import whole_file
from cove.rados.dump import DamagedDump, in_order
from cove.wire.rados_dump import (
    Data,
    ObjectBegin,
    ObjectEnd,
    Omap,
    PoolBegin,
    PoolEnd,
    Section,
    encode_section,
    super_header,
)

from .rados_runner import PIECE, Run

BIG = bytes(range(256)) * (6 * PIECE // 256) + b"end"


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> Path:
    """A dump of a pool with objects of every kind; the pool, too, has them."""
    run("-p", "rbd", "put", "big", "-", stdin=BIG)
    run("-p", "rbd", "put", "exact", "-", stdin=BIG[:PIECE])
    run("-p", "rbd", "setxattr", "big", "color", "red")
    run("-p", "rbd", "-N", "ns", "--locator", "where", "setomapval", "maps", "k", "v")
    run("-p", "rbd", "-N", "ns", "--locator", "where", "setomapheader", "maps", "head")
    run("-p", "rbd", "create", "empty")
    path = tmp_path / "dump"
    assert "4 objects" in run("-p", "rbd", "export", str(path)).stdout
    return path


def test_there_and_back(run: Run, filled: Path, tmp_path: Path) -> None:
    run("mkpool", "new")
    assert "4 objects written" in run("-p", "new", "import", str(filled)).stdout
    assert run("-p", "new", "get", "big", "-").stdout_bytes == BIG
    assert run("-p", "new", "getxattr", "big", "color").stdout == "red"
    assert run("-p", "new", "-N", "ns", "--locator", "where", "getomapheader", "maps").stdout == "head"
    assert sorted(run("-p", "new", "ls", "--all").stdout.splitlines()) == [
        "\tbig\t", "\tempty\t", "\texact\t", "ns\tmaps\twhere"
    ]  # fmt: skip
    assert len(run("-p", "new", "export").stdout_bytes) == filled.stat().st_size


def test_through_pipes(run: Run, filled: Path) -> None:
    dump = run("-p", "rbd", "export", "-").stdout_bytes
    assert dump == filled.read_bytes()
    run("-p", "rbd", "rm", "big")
    assert "1 object written" in run("-p", "rbd", "import", "-", stdin=dump).stdout
    assert run("-p", "rbd", "get", "big", "-").stdout_bytes == BIG


def test_one_namespace(run: Run, filled: Path, tmp_path: Path) -> None:
    assert "1 object," in run("-p", "rbd", "-N", "ns", "export", str(tmp_path / "one")).stdout


def test_what_is_there(run: Run, filled: Path) -> None:
    run("-p", "rbd", "put", "big", "-", stdin=b"other")
    run("-p", "rbd", "setxattr", "big", "more", "x")
    run("-p", "rbd", "rm", "exact")
    assert set(run("-p", "rbd", "import", "--dry-run", str(filled)).stdout.splitlines()) == {
        "overwrite\t\tbig", "overwrite\t\tempty", "write\t\texact", "overwrite\tns\tmaps\twhere"
    }  # fmt: skip
    assert "keep\t\tbig" in run("-p", "rbd", "import", "--dry-run", "--no-overwrite", str(filled)).stdout
    assert run("-p", "rbd", "get", "big", "-").stdout == "other"
    found = json.loads(run("-p", "rbd", "import", "--no-overwrite", str(filled), "--format", "json").stdout)
    assert found == {"dry_run": False, "bytes": PIECE, "kept": 3, "written": 1}
    assert run("-p", "rbd", "get", "big", "-").stdout == "other"
    assert "4 objects overwritten" in run("-p", "rbd", "import", str(filled)).stdout
    assert run("-p", "rbd", "get", "big", "-").stdout_bytes == BIG
    assert "more" not in run("-p", "rbd", "listxattr", "big").stdout


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_damaged_files_change_nothing(run: Run, filled: Path, damage: str) -> None:
    dump = bytearray(filled.read_bytes())
    if damage == "cut":
        del dump[-100:]
    elif damage == "flipped":
        dump[-8] ^= 1
    else:
        dump[:4] = b"%PDF"
    filled.write_bytes(dump)
    run("-p", "rbd", "put", "big", "-", stdin=b"kept")
    problem = run("-p", "rbd", "import", str(filled), ok=False).exception
    assert isinstance(problem, DamagedDump)
    assert "byte " in str(problem)
    assert "nothing was changed" in str(problem)
    assert run("-p", "rbd", "get", "big", "-").stdout == "kept"


def test_damaged_pipes_leave_the_object_alone(run: Run) -> None:
    sections: list[Section] = [
        PoolBegin(),
        ObjectBegin("a"),
        Data(0, b"new"),
        ObjectEnd(),
        ObjectBegin("b"),
        Data(0, b"new"),
    ]
    dump = super_header() + b"".join(map(encode_section, sections))
    for name in "ab":
        run("-p", "rbd", "put", name, "-", stdin=b"old")
    problem = run("-p", "rbd", "import", "-", stdin=dump[:-3], ok=False).exception
    assert isinstance(problem, DamagedDump)
    assert "what was before it was imported (1 object)" in str(problem)
    assert "'b' is not complete" in problem.__notes__[0]
    assert run("-p", "rbd", "get", "a", "-").stdout == "new"
    assert run("-p", "rbd", "get", "b", "-").stdout == "old"


def test_clones_and_internal_objects_are_passed_over(run: Run) -> None:
    sections: list[Section] = [
        PoolBegin(),
        *(ObjectBegin("a", snap=4), Data(0, b"clone"), ObjectEnd()),
        *(ObjectBegin("hits", ".ceph-internal"), ObjectEnd()),
        *(ObjectBegin("b"), Omap({f"{n}": b"v" for n in range(2000)}), ObjectEnd()),
        PoolEnd(),
    ]
    dump = super_header() + b"".join(map(encode_section, sections))
    assert "2 objects passed over, 1 object written" in run("-p", "rbd", "import", "-", stdin=dump).stdout
    assert run("-p", "rbd", "ls", "--all").stdout == "\tb\t\n"
    assert len(run("-p", "rbd", "listomapkeys", "b").stdout.split()) == 2000
    exported = run("-p", "rbd", "export").stdout_bytes
    assert exported.count(bytes.fromhex("ceff0808")) == 4


def test_files_appear_when_they_are_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with contextlib.suppress(ValueError), whole_file(path) as file:
        file.write(b"half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    with whole_file(tmp_path / "link") as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    with whole_file(Path(os.devnull)) as file:
        file.write(b"x")


async def test_work_in_order() -> None:
    running = peak = 0

    async def items() -> AsyncIterator[int]:
        for number in range(20):
            yield number
        raise ValueError("the source")

    async def work(number: int) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0 if number % 2 else 0.001)
        running -= 1
        return number

    found: list[int] = []

    async def collect() -> None:
        async with in_order(items(), work, 4) as results:
            async for result in results:
                found.append(result)

    with pytest.raises(ValueError, match="the source"):
        await collect()
    assert found == list(range(20))
    assert peak == 4
    assert running == 0


async def test_work_that_fails_ends_the_others() -> None:
    ended = []

    async def items() -> AsyncIterator[int]:
        for number in range(9):
            yield number

    async def work(number: int) -> None:
        try:
            if number == 1:
                raise ValueError("the work")
            await asyncio.sleep(0 if number == 0 else 60)
        finally:
            ended.append(number)

    async def collect() -> None:
        async with in_order(items(), work, 4) as results:
            async for _ in results:
                pass

    with pytest.raises(ValueError, match="the work"):
        await collect()
    assert sorted(ended) == [0, 1, 2, 3]
