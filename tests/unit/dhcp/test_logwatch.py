"""Following files that grow, and the limit of inotify instances."""

from __future__ import annotations

import asyncio

import pytest

from cove.dhcp.drivers.logwatch import LogFollower, LogWatch, ensure_instances


class Sink:
    def __init__(self) -> None:
        self.data = b""

    def __call__(self, data: bytes) -> None:
        self.data += data

    async def until(self, data: bytes) -> None:
        async with asyncio.timeout(5):
            while self.data != data:
                await asyncio.sleep(0.001)


@pytest.fixture
async def watch():
    watch = LogWatch()
    yield watch
    watch.close()


async def test_appended_bytes_arrive(watch, tmp_path):
    path, sink = tmp_path / "log", Sink()
    path.write_bytes(b"old")
    follower = LogFollower(watch, path, sink, from_end=True)
    with path.open("ab", buffering=0) as writer:
        writer.write(b"one")
        await sink.until(b"one")
        writer.write(b"two")
        await sink.until(b"onetwo")
        assert follower.size == len(b"oldonetwo")
        follower.close()
        follower.close()
        writer.write(b"three")
    await asyncio.sleep(0.01)
    assert sink.data == b"onetwo"


async def test_from_the_start_by_poll(watch, tmp_path):
    path, sink = tmp_path / "log", Sink()
    path.write_bytes(b"old")
    follower = LogFollower(watch, path, sink, from_end=False)
    follower.poll()
    assert sink.data == b"old"
    follower.close()


async def test_rotation_reads_the_old_file_to_its_end_first(watch, tmp_path):
    path, sink = tmp_path / "log", Sink()
    path.touch()
    follower = LogFollower(watch, path, sink, from_end=True)
    with path.open("ab", buffering=0) as old:
        old.write(b"1")
        path.rename(tmp_path / "log.1")
        path.touch()
        follower.reopen()
        follower.reopen()  # again is no error
        assert follower.is_turning
        old.write(b"2")
        await sink.until(b"12")
        old.write(b"3")
        with path.open("ab", buffering=0) as new:
            new.write(b"4")
            await sink.until(b"1234")
            assert not follower.is_turning
            assert follower.size == 1
            new.write(b"5")
            await sink.until(b"12345")
    follower.close()


async def test_a_callback_may_close_the_follower(watch, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x")
    got: list[bytes] = []

    def close(data: bytes) -> None:
        got.append(data)
        follower.close()

    follower = LogFollower(watch, path, close, from_end=False)
    follower.poll()
    assert got == [b"x"]


async def test_a_missing_file_is_an_error(watch, tmp_path):
    with pytest.raises(FileNotFoundError):
        LogFollower(watch, tmp_path / "none", Sink(), from_end=True)


@pytest.mark.parametrize(
    ("limit", "count", "changed"), [("128\n", 10, False), ("128\n", 33, True), ("8192\n", 1000, False)]
)
def test_instances(tmp_path, limit, count, changed):
    path = tmp_path / "limit"
    path.write_text(limit)
    assert ensure_instances(count, limit_file=path) is changed
    assert int(path.read_text()) >= 2 * count
    assert (path.read_text() == limit) is not changed


def test_instances_without_permission(tmp_path):
    assert ensure_instances(10, limit_file=tmp_path / "none") is False
