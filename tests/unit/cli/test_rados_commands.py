"""`cove rados` on objects, attributes, object maps and pools, with the embedded store in place of a cluster."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import typer

from cove.cli.output import Format
from cove.cli.rados_objects import timestamp_ns
from cove.cli.rados_values import as_text, hex_lines, preview, show_value
from cove.errors import CoveError

from .rados_runner import PIECE, Run

BINARY = b"\x00\xff\x1b[31m"


def test_objects(run: Run) -> None:
    run("-p", "rbd", "create", "x")
    assert isinstance(run("-p", "rbd", "create", "x", ok=False).exception, CoveError)
    run("-p", "rbd", "append", "x", "-", stdin=b"one")
    run("-p", "rbd", "append", "x", "-", stdin=b"two")
    run("-p", "rbd", "put", "x", "-", "--offset", "5", stdin=b"!")
    run("-p", "rbd", "truncate", "x", "8")
    assert run("-p", "rbd", "get", "x", "-").stdout_bytes == b"onetw!\0\0"
    run("-p", "rbd", "truncate", "x", "3")
    assert run("-p", "rbd", "get", "x", "-").stdout_bytes == b"one"
    assert run("-p", "rbd", "truncate", "nope", "3", ok=False).exit_code == 1
    assert run("-p", "rbd", "truncate", "x", "--", "-1", ok=False).exit_code == 2


def test_append_of_much(run: Run) -> None:
    data = os.urandom(2 * PIECE)
    assert "128 KiB" in run("-p", "rbd", "append", "x", "-", stdin=data).stdout
    assert "0 B" in run("-p", "rbd", "append", "x", "-", stdin=b"").stdout
    assert run("-p", "rbd", "get", "x", "-").stdout_bytes == data


def test_touch_and_times(run: Run) -> None:
    run("-p", "rbd", "touch", "x", "1000000000.25")
    found = json.loads(run("-p", "rbd", "stat2", "x", "--format", "json").stdout)
    assert found["modified"] == "2001-09-09T01:46:40.250000000+00:00"
    assert found["size_bytes"] == 0
    run("-p", "rbd", "touch", "y", "2020-01-01T00:00:00+00:00")
    assert "2020-01-01T00:00:00.000" in run("-p", "rbd", "stat", "y", "--format", "json").stdout
    run("-p", "rbd", "touch", "z")
    assert "20" in run("-p", "rbd", "stat", "z").stdout


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "1e400", "99999999999", "1969-01-01T00:00"])
def test_no_times(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        timestamp_ns(text)


def test_cp(run: Run) -> None:
    data = os.urandom(3 * PIECE + 1)
    run("-p", "rbd", "put", "x", "-", stdin=data)
    run("-p", "rbd", "setxattr", "x", "color", "red")
    run("-p", "rbd", "setomapval", "x", "key", "value")
    run("-p", "rbd", "setomapheader", "x", "head")
    run("-p", "rbd", "setxattr", "y", "old", "gone afterwards")
    run("-p", "rbd", "cp", "x", "y")
    assert run("-p", "rbd", "get", "y", "-").stdout_bytes == data
    assert run("-p", "rbd", "getxattr", "y", "color").stdout == "red"
    assert run("-p", "rbd", "listxattr", "y").stdout.count("\n") == 3
    assert run("-p", "rbd", "getomapval", "y", "key").stdout == "value"
    assert run("-p", "rbd", "getomapheader", "y").stdout == "head"
    run("-p", "rbd", "cp", "x", "--target-nspace", "n", "--target-locator", "l")
    assert run("-p", "rbd", "-N", "n", "--locator", "l", "get", "x", "-").stdout_bytes == data
    assert run("-p", "rbd", "cp", "x", ok=False).exit_code == 2
    assert run("-p", "rbd", "cp", "nope", "y", ok=False).exit_code == 1
    assert run("-p", "rbd", "get", "y", "-").stdout_bytes == data


def test_xattrs(run: Run, tmp_path: Path) -> None:
    run("-p", "rbd", "setxattr", "x", "text", "väl")
    run("-p", "rbd", "setxattr", "x", "binary", stdin=BINARY)
    (tmp_path / "file").write_bytes(b"of a file")
    run("-p", "rbd", "setxattr", "x", "file", "--input-file", str(tmp_path / "file"))
    assert run("-p", "rbd", "getxattr", "x", "binary").stdout_bytes == BINARY
    run("-p", "rbd", "getxattr", "x", "binary", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == BINARY
    listed = json.loads(run("-p", "rbd", "listxattr", "x", "--format", "json").stdout)
    assert [(row["attribute"], row["size_bytes"], row["value"]) for row in listed] == [
        ("binary", 7, None), ("file", 9, "of a file"), ("text", 4, "väl")
    ]  # fmt: skip
    assert listed[0]["base64"] == "AP8bWzMxbQ=="
    shown = run("-p", "rbd", "listxattr", "x").stdout
    assert "0x00ff1b5b33316d" in shown
    assert "\x1b" not in shown
    run("-p", "rbd", "rmxattr", "x", "text")
    for words in (["getxattr", "x", "text"], ["rmxattr", "x", "text"], ["listxattr", "nope"]):
        assert run("-p", "rbd", *words, ok=False).exit_code == 1
    assert run("-p", "rbd", "setxattr", "x", "n", "v", "--input-file", "f", ok=False).exit_code == 2


def test_omap(run: Run, tmp_path: Path) -> None:
    run("-p", "rbd", "setomapval", "x", "a", "1")
    run("-p", "rbd", "setomapval", "x", "b", "-", stdin=BINARY)
    (tmp_path / "key").write_bytes(b"\xffkey")
    run("-p", "rbd", "setomapval", "x", "2", "--omap-key-file", str(tmp_path / "key"))
    assert run("-p", "rbd", "listomapkeys", "x").stdout_bytes == b"a\nb\n\xffkey\n"
    assert json.loads(run("-p", "rbd", "listomapkeys", "x", "--format", "json").stdout) == ["a", "b", "\udcffkey"]
    rows = json.loads(run("-p", "rbd", "listomapvals", "x", "--format", "json").stdout)
    assert [(row["key"], row["value"]) for row in rows] == [("a", "1"), ("b", None), ("\udcffkey", "2")]
    assert run("-p", "rbd", "listomapvals", "x", "--prefix", "b").stdout.splitlines()[2].split() == [
        "b", "7", "B", "0x00ff1b5b33316d"
    ]  # fmt: skip
    assert run("-p", "rbd", "getomapval", "x", "b").stdout_bytes == BINARY
    assert run("-p", "rbd", "getomapval", "x", "--omap-key-file", str(tmp_path / "key")).stdout == "2"
    run("-p", "rbd", "getomapval", "x", "a", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"1"
    run("-p", "rbd", "rmomapkey", "x", "a")
    assert "'a'" in str(run("-p", "rbd", "rmomapkey", "x", "a", ok=False).exception)
    assert "'a'" in str(run("-p", "rbd", "getomapval", "x", "a", ok=False).exception)
    run("-p", "rbd", "setomapheader", "x", "head")
    assert json.loads(run("-p", "rbd", "getomapheader", "x", "--format", "json").stdout)["value"] == "head"
    run("-p", "rbd", "clearomap", "x")
    assert run("-p", "rbd", "listomapkeys", "x").stdout == ""
    assert run("-p", "rbd", "getomapheader", "x").stdout == ""
    assert run("-p", "rbd", "clearomap", "nope", ok=False).exit_code == 1
    assert run("-p", "rbd", "getomapval", "x", ok=False).exit_code == 2


def test_pools(run: Run) -> None:
    assert "created pool new" in run("mkpool", "new").stdout
    assert "new" in run("lspools").stdout
    run("-p", "rbd", "put", "x", "-", stdin=b"data")
    run("-p", "rbd", "-N", "n", "put", "y", "-", stdin=b"data")
    assert "2 objects, 8 B" in run("cppool", "rbd", "new").stdout
    assert run("-p", "new", "-N", "n", "get", "y", "-").stdout == "data"
    for words in (["purge", "new"], ["rmpool", "new"], ["rmpool", "new", "new"], ["cppool", "new", "new"]):
        assert run(*words, ok=False).exit_code == 2
    assert run("rmpool", "new", "rbd", "--yes-i-really-really-mean-it", ok=False).exit_code == 2
    assert "2 objects" in run("purge", "new", "--yes-i-really-really-mean-it").stdout
    assert run("-p", "new", "ls", "--all").stdout == ""
    run("rmpool", "new", "new", "--yes-i-really-really-mean-it")
    assert "new" not in run("lspools").stdout
    assert "mkpool" in str(run("-p", "new", "ls", ok=False).exception)


@pytest.mark.parametrize("words", [["put", "x", "-"], ["rm", "x"], ["setxattr", "x", "a", "b"], ["mksnap", "y"]])
def test_snapshots_are_only_read(run: Run, words: list[str]) -> None:
    result = run("-p", "rbd", "-s", "snap", *words, ok=False)
    assert result.exit_code == 2
    assert "only read" in result.stderr


def test_one_way_to_name_a_snapshot(run: Run) -> None:
    assert run("-p", "rbd", "-s", "snap", "--snapid", "3", "ls", ok=False).exit_code == 2


def test_values_for_people() -> None:
    assert as_text(b"two\nlines\t") == "two\nlines\t"
    assert as_text(b"\x1b[31m") is None
    assert as_text(b"\xff") is None
    assert preview(b"a\nb") == "a⏎b"
    assert preview(b"x" * 100) == "x" * 47 + "…"
    assert preview(bytes(20)) == "0x" + "00" * 16 + "…"
    assert list(hex_lines(b"0123456789abcdef\x00")) == [
        "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
        "00000010  00" + " " * 47 + "|.|",
    ]


def test_values_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for value in (b"text\n", b"\x1bc"):
        show_value(value, {}, "-", Format.TABLE)
    assert capsys.readouterr().out.splitlines()[0] == "text"
