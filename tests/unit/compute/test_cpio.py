"""The archive writer: what is written can be read back, and the kernel's rules on the form hold."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.compute.guest import cpio

names = st.from_regex(r"\A[a-z0-9_.-]{1,12}(/[a-z0-9_.-]{1,12}){0,3}\Z").filter(lambda name: name != cpio.TRAILER)
permissions = st.integers(0, 0o7777)
members = st.one_of(
    st.builds(cpio.directory, names, permissions),
    st.builds(cpio.file, names, st.binary(max_size=300), permissions),
    st.builds(cpio.symlink, names, st.text("abc/.", min_size=1, max_size=20)),
    st.builds(cpio.character_device, names, st.integers(0, 4095), st.integers(0, 1 << 20), permissions),
)
archives = st.lists(members, max_size=8, unique_by=lambda entry: entry.name)


@given(archives)
def test_round_trip(entries: list[cpio.Entry]) -> None:
    data = cpio.write_archive(entries)
    assert cpio.read_archive(data) == entries
    assert len(data) % 512 == 0
    assert data == cpio.write_archive(entries)


@given(archives.filter(bool), st.data())
def test_a_cut_archive_is_refused(entries: list[cpio.Entry], data: st.DataObject) -> None:
    archive = cpio.write_archive(entries)
    last_header = archive.rindex(cpio.MAGIC, 0, archive.rindex(cpio.TRAILER.encode()))
    cut = data.draw(st.integers(0, last_header - 1))
    with pytest.raises(ValueError, match=r"cpio header|cut short|invalid literal"):
        cpio.read_archive(archive[:cut])


def test_golden_header() -> None:
    archive = cpio.write_archive([cpio.file("a", b"xyz", 0o755)])
    header = b"070701" + b"00000001" + b"000081ED" + b"0" * 16 + b"00000001" + b"0" * 8 + b"00000003"
    header += b"0" * 32 + b"00000002" + b"0" * 8
    assert archive[:116] == header + b"a\0" + b"\0" * 0 + b"xyz\0"[:4]


@pytest.mark.parametrize("name", ["", "/etc", "a\0b", cpio.TRAILER])
def test_impossible_names(name: str) -> None:
    with pytest.raises(ValueError, match="name of an archive member"):
        cpio.file(name, b"")


def test_a_name_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        cpio.write_archive([cpio.directory("a"), cpio.file("a", b"")])


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio program to compare with")
def test_the_cpio_program_reads_it() -> None:
    archive = cpio.write_archive([cpio.directory("d"), cpio.file("d/f", b"12345"), cpio.symlink("l", "d/f")])
    listing = subprocess.run(["cpio", "-t"], input=archive, capture_output=True, check=True).stdout
    assert listing.decode().split() == ["d", "d/f", "l"]
