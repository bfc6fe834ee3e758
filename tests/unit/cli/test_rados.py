"""`cove rados` with the embedded store in place of a cluster: what commands print, and how they fail."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import typer
from rich.progress import Task, TaskID
from typer.testing import CliRunner

from cove.cli import rados_options
from cove.cli.main import app
from cove.cli.rados import COMMANDS
from cove.cli.rados_options import OPTIONS, Cluster
from cove.cli.rados_trace import STAGES, osd_names
from cove.cli.rados_transfer import AmountColumn
from cove.errors import CoveError
from cove.rados import ObjectNotFound
from cove.rados.trace import Stage

from .rados_runner import PIECE, Run


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 11 * PIECE, 11 * PIECE + 17])
def test_put_and_get_files(run: Run, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "in").write_bytes(data)
    assert "put big" in run("-p", "rbd", "put", "big", str(tmp_path / "in")).output
    run("-p", "rbd", "get", "big", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == data


def test_put_and_get_streams(run: Run) -> None:
    data = os.urandom(3 * PIECE + 5)
    run("put", "-p", "rbd", "x", "-", stdin=data)
    assert run("get", "-p", "rbd", "x", "-").stdout_bytes == data


def test_put_replaces(run: Run) -> None:
    run("-p", "rbd", "put", "x", "-", stdin=b"a long one")
    run("-p", "rbd", "put", "x", "-", stdin=b"short")
    assert run("-p", "rbd", "get", "x", "-").stdout_bytes == b"short"


def test_get_of_nothing_leaves_files_alone(run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("before")
    for path in (kept, tmp_path / "new"):
        assert isinstance(run("-p", "rbd", "get", "nope", str(path), ok=False).exception, ObjectNotFound)
    assert kept.read_text() == "before"
    assert not (tmp_path / "new").exists()


def test_ls(run: Run) -> None:
    assert run("-p", "rbd", "ls").stdout == ""
    assert run("-p", "rbd", "ls", "--format", "json").stdout == "[]\n"
    names = ["a", "with space", "ünï"]
    for name in names:
        run("-p", "rbd", "put", name, "-")
    run("-p", "rbd", "-N", "other", "put", "b", "-")
    assert sorted(run("-p", "rbd", "ls").stdout.splitlines()) == names
    assert run("-p", "rbd", "-N", "other", "ls").stdout == "b\n"
    found = json.loads(run("-p", "rbd", "ls", "--all", "--format", "json").stdout)
    assert {(entry["namespace"], entry["name"]) for entry in found} == {("", n) for n in names} | {("other", "b")}
    assert "other\tb\t\n" in run("-p", "rbd", "ls", "--all").stdout


def test_stat(run: Run) -> None:
    run("-p", "rbd", "put", "x", "-", stdin=bytes(1536))
    found = json.loads(run("-p", "rbd", "stat", "x", "--format", "json").stdout)
    assert (found["object"], found["pool"], found["size_bytes"]) == ("x", "rbd", 1536)
    assert "1.5 KiB" in run("-p", "rbd", "stat", "x").stdout


def test_rm_goes_on(run: Run) -> None:
    for name in ("a", "b"):
        run("-p", "rbd", "put", name, "-")
    result = run("-p", "rbd", "rm", "a", "nope", "b", ok=False)
    assert result.exit_code == 1
    assert result.stdout == "removed a\nremoved b\n"
    assert "nope" in result.stderr
    assert run("-p", "rbd", "ls").stdout == ""


def test_lspools(run: Run) -> None:
    pools = json.loads(run("lspools", "--format", "json").stdout)
    assert "rbd" in [pool["pool"] for pool in pools]
    assert "replicated" in run("lspools").stdout


def test_bench_measures_and_cleans_up(run: Run) -> None:
    words = ("--seconds", "0.1", "--size", "4K", "--depth", "4", "--objects", "8", "--format", "json")
    rows = json.loads(run("-p", "rbd", "bench", *words).stdout)
    assert [row["what"] for row in rows] == ["write", "read"]
    assert all(row["operations"] > 8 and row["p50_ms"] > 0 and row["size_bytes"] == 4096 for row in rows)
    assert run("-p", "rbd", "ls").stdout == ""
    assert "KiB" in run("-p", "rbd", "bench", "read", "--keep", *words[:-2]).stdout
    assert len(run("-p", "rbd", "ls").stdout.splitlines()) == 8


def test_trace_shows_every_stage(run: Run) -> None:
    run("-p", "rbd", "put", "x", "-", stdin=b"data")
    found = json.loads(run("-p", "rbd", "trace", "x", "--format", "json").stdout)
    first, second = found["passes"]
    assert [stage["stage"] for stage in second["stages"]] == [
        "submitted", "admitted", "targeted", "sent", "answered", "delivered"
    ]  # fmt: skip
    times = [stage["at_us"] for stage in second["stages"]]
    assert times == sorted(times)
    assert times[-1] == second["total_us"]
    assert (second["result"], second["bytes_out"], second["bytes_in"]) == (4, 0, 4) or second["bytes_in"] == 4
    (place,) = first["places"]
    assert place["pg"].split(".")[0] == "1"
    assert (place["acting"], place["osd"]) == ([0], 0)
    shown = run("-p", "rbd", "trace", "x").stdout
    for word in (place["pg"], "osd.0", f"epoch {place['epoch']}", "wait for the OSD", "total", "4 B in"):
        assert word in shown


def test_trace_of_a_write(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    words = ("-p", "rbd", "trace", "x", "--put", str(tmp_path / "file"), "--times", "1")
    (only,) = json.loads(run(*words, "--format", "json").stdout)["passes"]
    assert (only["result"], only["bytes_out"], only["attempts"]) == (0, 100, 1)
    assert run("-p", "rbd", "get", "x", "-").stdout_bytes == bytes(100)


def test_trace_of_what_is_not_there(run: Run) -> None:
    result = run("-p", "rbd", "trace", "nope", ok=False)
    assert isinstance(result.exception, CoveError)
    assert "wait for the OSD" in result.stdout


def test_stages_have_names() -> None:
    assert set(STAGES) == {stage.value for stage in Stage} - {"submitted"}
    assert osd_names((2, 0x7FFFFFFF, 0)) == "osd.2 - osd.0"
    assert osd_names(()) == "none"


# options


def test_options_before_and_after(run: Run, seen: list[Cluster]) -> None:
    run("-p", "rbd", "-c", "/a", "--id", "me", "lspools", "-c", "/b", "--connect-timeout", "3")
    assert seen == [Cluster(conf="/b", id="me", pool="rbd", connect_timeout=3)]
    assert seen[0].entity == "client.me"


def test_names_that_contradict() -> None:
    assert Cluster(name="client.a", id="a").entity == "client.a"
    assert Cluster().entity is None
    with pytest.raises(typer.BadParameter):
        _ = Cluster(name="client.a", id="b").entity


@pytest.mark.parametrize("command", ["ls", "stat x", "put x -", "get x -", "rm x", "bench", "trace x"])
def test_a_pool_is_needed(run: Run, command: str) -> None:
    result = run(*command.split(), ok=False)
    assert result.exit_code == 2
    assert "-p POOL" in result.stderr


def test_every_command_has_the_options() -> None:
    commands = typer.main.get_command(app).commands["rados"].commands  # type: ignore[attr-defined]
    for command in commands.values():
        assert set(OPTIONS) <= {parameter.name for parameter in command.params}


@pytest.mark.parametrize("words", [["bench", "--depth", "0"], ["bench", "--size", "1G"], ["put", "x"]])
def test_wrong_usage(run: Run, words: list[str]) -> None:
    assert run("-p", "rbd", *words, ok=False).exit_code == 2


def test_a_directory_is_no_file(run: Run, tmp_path: Path) -> None:
    assert isinstance(run("-p", "rbd", "put", "x", str(tmp_path), ok=False).exception, CoveError)


def test_patience_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        async with rados_options.patience("waiting"):
            pass

    rados_options.run(work())
    assert capsys.readouterr() == ("", "")


# help and progress


def test_help_shows_every_command_whole() -> None:
    shown = CliRunner().invoke(app, ["rados", "--help"], env={"COLUMNS": "80"}).output
    commands = typer.main.get_command(app).commands["rados"].commands  # type: ignore[attr-defined]
    assert sorted(name for names in COMMANDS.values() for name in names) == sorted(commands)
    assert all(f"\n{subject}:\n" in shown for subject in COMMANDS)
    assert all(re.search(rf"\n  {name} +[A-Z]", shown) for name in commands)
    assert "..." not in shown.partition("Pools:")[2]
    assert max(map(len, shown.splitlines())) <= 80


def test_amounts_of_progress_bars() -> None:
    def amount(unit: str, done: int, total: int | None, speed: float | None) -> str:
        task = Task(TaskID(0), "", total, done, _get_time=lambda: 0.0, finished_speed=speed)
        return AmountColumn(unit).render(task).plain

    assert amount("bytes", 0, None, None) == "0 B"
    assert amount("bytes", 3 << 19, 1 << 30, 1024.4) == "1.5 MiB of 1 GiB  1 KiB/s"
    assert amount("objects", 1234, 5000, 900.2) == "1,234 of 5,000 objects  900/s"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_file_system(run: Run) -> None:
    run("-p", "rbd", "put", "x", "-", stdin=bytes(3 * PIECE))
    run("-p", "rbd", "setxattr", "x", "a", "1")
    for words in (["get", "x"], ["export"], ["getxattr", "x", "a"]):
        problem = run("-p", "rbd", *words, "/dev/full", ok=False).exception
        assert isinstance(problem, CoveError)
        assert str(problem) == "/dev/full can't be written: No space left on device: free some space"
