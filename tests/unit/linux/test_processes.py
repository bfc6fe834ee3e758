"""Daemon processes: spawned, adopted, watched, stopped; a stranger's pid is never touched."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest

from cove.linux import processes
from cove.linux.processes import Process, ProcessError, ProcessRecord

SLEEP = "/bin/sleep"


@pytest.fixture
async def spawned():
    started: list[Process] = []

    async def spawn(argv, **options):
        process = await processes.spawn(argv, **options)
        started.append(process)
        return process

    yield spawn
    for process in started:
        await process.stop(timeout_s=1)
        process.close()


async def test_spawn_records_and_is_adopted(spawned, tmp_path):
    pid_file = tmp_path / "pid.json"
    process = await spawned([SLEEP, "60"], pid_file=pid_file)
    assert process.is_alive()
    assert os.getsid(process.pid) == process.pid
    adopted = processes.adopt(pid_file)
    assert adopted is not None
    assert adopted.record == process.record
    await adopted.stop()
    assert not process.is_alive()
    assert processes.adopt(pid_file) is None
    adopted.close()


async def test_stop_leaves_no_zombie(spawned):
    process = await spawned([SLEEP, "60"])
    await process.stop()
    assert not os.path.exists(f"/proc/{process.pid}")
    await process.stop()  # again is no error


async def test_a_process_that_ignores_term_is_killed(spawned, tmp_path):
    ready = tmp_path / "ready"
    script = f"trap '' TERM; : > {ready}; while :; do sleep 0.05; done"
    process = await spawned(["/bin/sh", "-c", script])
    async with asyncio.timeout(5):
        while not ready.exists():
            await asyncio.sleep(0.005)
    await process.stop(timeout_s=0.1)
    assert not process.is_alive()


async def test_wait_sees_a_kill(spawned):
    process = await spawned([SLEEP, "60"])
    waiters = [asyncio.ensure_future(process.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(*waiters), 5)


async def test_output_goes_to_the_file_and_stdin_is_empty(spawned, tmp_path):
    out = tmp_path / "out"
    process = await spawned(["/bin/sh", "-c", "cat; echo text; echo error >&2; env"], output=out)
    await asyncio.wait_for(process.wait(), 5)
    text = out.read_text()
    assert text.startswith("text\nerror\n")
    assert "PATH=" in text
    assert "HOME=" not in text


@pytest.mark.parametrize("argv", [["sleep", "1"], [], ["/no/such/program"]])
async def test_impossible_commands(argv):
    with pytest.raises(ProcessError):
        await processes.spawn(argv)


def test_wrong_start_time_or_command_line_is_not_ours(tmp_path):
    with subprocess.Popen([SLEEP, "60"]) as other:
        start = processes.start_time_of(other.pid)
        assert start is not None
        try:
            assert Process.open(other.pid, argv=[SLEEP, "61"]) is None
            assert Process.open(other.pid, start_time=start + 1) is None
            pid_file = tmp_path / "pid"
            processes.write_record(pid_file, ProcessRecord(other.pid, start + 1, [SLEEP, "60"]))
            assert processes.adopt(pid_file) is None
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.parametrize("text", ["", "12", "{}", '{"pid":"x"}', "\0"])
def test_a_damaged_pid_file_adopts_nothing(tmp_path, text):
    (tmp_path / "pid").write_text(text)
    assert processes.adopt(tmp_path / "pid") is None


@pytest.mark.parametrize("pid", [0, 1, -1, 2**22 + 1])
def test_impossible_pids(pid):
    assert Process.open(pid) is None
