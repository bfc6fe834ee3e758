"""Atomic files."""

from __future__ import annotations

import os
import stat

import pytest

from cove.linux import files


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_write_sets_content_and_mode_whatever_the_umask(tmp_path, durable, mode):
    old = os.umask(0o077)
    try:
        files.write_atomic(tmp_path / "f", "text\n", mode=mode, durable=durable)
    finally:
        os.umask(old)
    assert (tmp_path / "f").read_text() == "text\n"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["f"]


def test_write_replaces_by_rename(tmp_path):
    path = tmp_path / "f"
    files.write_atomic(path, b"old")
    with path.open("rb") as reader:
        files.write_atomic(path, b"new")
        assert reader.read() == b"old"  # who has it open keeps a whole file
    assert path.read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "d"
    path.mkdir()
    (path / "x").touch()
    with pytest.raises(OSError):
        files.write_atomic(path, b"data")
    assert os.listdir(tmp_path) == ["d"]


def test_ensure_directory_corrects_the_mode(tmp_path):
    path = tmp_path / "a" / "b"
    files.ensure_directory(path, mode=0o711)
    files.ensure_directory(path, mode=0o700)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        files.ensure_directory(tmp_path / "file")


def test_read_and_remove(tmp_path):
    assert files.read_text(tmp_path / "f") is None
    assert files.remove(tmp_path / "f") is False
    (tmp_path / "f").write_bytes(b"a\xff")
    assert files.read_text(tmp_path / "f") == "a�"
    assert files.remove(tmp_path / "f") is True
