"""The server's own life: two at once, ends in the middle of things, what is left of it, and whom it lets in."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .cove_instance import CoveInstance, eventually, processes_that_mention
from .nbd_client import NbdClient
from .test_crash_boot import make_network


@contextmanager
def running(cove: CoveInstance, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A `cove` command in the background; it is ended if it has not come to its end."""
    process = subprocess.Popen(
        [*cove.command, *arguments],
        env=cove.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def status_of(cove: CoveInstance, image: str) -> str:
    """ACTIVE, IMPORTING, or nothing if there is no such image."""
    return next((row["status"] for row in cove.json("image", "list") if row["name"] == image), "")


@contextmanager
def import_that_stalls(cove: CoveInstance, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """`cove image import`, held at its first byte: qemu-img is stopped as soon as the image is there."""
    tools = directory / "tools"
    tools.mkdir()
    stalling = tools / "qemu-img"
    stalling.write_text('#!/bin/sh\n[ "$1" = convert ] && exec sleep 600\nexec /usr/bin/qemu-img "$@"\n')
    stalling.chmod(0o755)
    disk = directory / "slow.raw"
    disk.write_bytes(b"x" * (1 << 20))
    environment = cove.environment | {"PATH": f"{tools}:{os.environ['PATH']}"}
    before = cove.environment
    cove.environment = environment
    try:
        with running(cove, "image", "import", str(disk), "--name", "slow") as process:
            cove.environment = before
            eventually(lambda: status_of(cove, "slow") == "IMPORTING", 30, "the import is under way")
            yield process
    finally:
        cove.environment = before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_import_that_is_interrupted_leaves_nothing(
    cove: CoveInstance, tmp_path: Path, number: signal.Signals
) -> None:
    with import_that_stalls(cove, tmp_path) as importing:
        importing.send_signal(number)
        assert importing.wait(30) == 128 + number
        assert cove.json("image", "list") == []
    assert list((cove.state / "imports").iterdir()) == []
    assert list((cove.run / "imports").iterdir()) == []


def test_an_import_whose_client_is_killed_leaves_nothing(cove: CoveInstance, tmp_path: Path) -> None:
    with import_that_stalls(cove, tmp_path) as importing:
        importing.kill()
        eventually(lambda: cove.json("image", "list") == [], 30, "the image is gone")


def test_an_import_whose_server_is_killed_leaves_nothing(cove: CoveInstance, tmp_path: Path) -> None:
    with import_that_stalls(cove, tmp_path):
        cove.kill()
        cove.up()
        assert cove.json("image", "list") == []


def test_down_during_an_import(cove: CoveInstance, tmp_path: Path) -> None:
    with import_that_stalls(cove, tmp_path):
        cove.cove("down")
        assert not cove.run.exists()
        cove.up()
        assert cove.json("image", "list") == []


def test_nothing_boots_from_an_image_that_is_not_whole(cove_with_guest: CoveInstance, tmp_path: Path) -> None:
    cove = cove_with_guest
    make_network(cove)
    with import_that_stalls(cove, tmp_path):
        result = cove.cove("boot", "vm", "--network", "lab", "--image", "slow", check=False)
        assert result.returncode == 1
        assert "being written to" in result.stderr
        assert cove.json("rbd", "ls", "rbd") == []
        assert cove.cove("image", "delete", "slow", check=False).returncode == 1


def test_down_during_an_export(cove: CoveInstance, tmp_path: Path) -> None:
    cove.cove("rbd", "create", "rbd/disk", "--size", "8M")
    path = tmp_path / "nbd.sock"
    with running(cove, "rbd", "export-nbd", "rbd/disk", "--socket", str(path)) as export:
        eventually(path.exists, 20, "the export's socket")
        with NbdClient(path, "disk") as client:
            client.write(0, b"acknowledged" * 128)
            cove.cove("down")
        _, words = export.communicate(timeout=30)
        assert export.returncode == 1
        assert "the server is stopping" in words
    assert not path.exists()
    cove.up()
    with running(cove, "rbd", "export-nbd", "rbd/disk", "--socket", str(path)) as export:
        eventually(path.exists, 20, "the export's socket")
        with NbdClient(path, "disk") as client:
            assert client.read(0, 12) == b"acknowledged"
        export.send_signal(signal.SIGINT)
        assert export.wait(30) == 0  # that is how one ends an export
    eventually(lambda: not path.exists(), 20, "the socket is gone")


def test_an_export_replaces_no_file(cove: CoveInstance, tmp_path: Path) -> None:
    cove.cove("rbd", "create", "rbd/disk", "--size", "8M")
    precious = tmp_path / "precious"
    precious.write_text("data")
    link = tmp_path / "link"
    link.symlink_to(precious)
    for path in (precious, link, tmp_path):
        result = cove.cove("rbd", "export-nbd", "rbd/disk", "--socket", str(path), check=False)
        assert result.returncode == 1, path
        assert "can't listen" in result.stderr
    assert precious.read_text() == "data"
    assert link.is_symlink()
    cove.cove("rbd", "rm", "rbd/disk")  # nothing holds it any more


def test_a_second_server_leaves_the_first_alone(cove: CoveInstance) -> None:
    second = subprocess.run(
        [*cove.command[:-1], "cove.daemon"], env=cove.environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"pid {cove.pid}" in second.stderr
    assert cove.json("status")["pid"] == cove.pid
    assert f"pid {cove.pid}" in cove.cove("up").stdout


def test_up_twice_at_once(cove: CoveInstance) -> None:
    cove.cove("down")
    with running(cove, "up") as one, running(cove, "up") as two:
        outputs = [process.communicate(timeout=60) for process in (one, two)]
        codes = [one.returncode, two.returncode]
    assert codes.count(0) >= 1, outputs
    # the other has come too early to see the first, or has waited for it
    assert all(code == 0 or "another server" in words for code, (_, words) in zip(codes, outputs, strict=True)), outputs
    assert cove.json("status")["running"]


def test_down_twice_and_after_a_kill(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    make_network(cove)
    server_id = cove.json("boot", "vm", "--network", "lab")["id"]
    cove.kill()
    assert processes_that_mention(server_id)
    cove.cove("down")
    assert processes_that_mention(str(cove.state.parent)) == []
    assert not cove.run.exists()
    began = (cove.state / "log" / "cove.log").stat().st_size
    assert "was not running" in cove.cove("down").stdout
    assert (cove.state / "log" / "cove.log").stat().st_size == began, "the second one started a server for nothing"
    cove.up()
    assert cove.json("server", "show", "vm")["status"] == "SHUTOFF"


def test_down_with_a_guest_that_hangs(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    make_network(cove)
    server_id = cove.json("boot", "vm", "--network", "lab")["id"]
    pid = json.loads((cove.run / "instances" / server_id / "pid").read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    cove.cove("down")
    assert time.monotonic() - began < 30
    assert not Path(f"/proc/{pid}").exists()


def test_a_port_that_is_taken(cove: CoveInstance) -> None:
    cove.cove("down")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cove.environment["COVE_API_PORT"] = str(taken.getsockname()[1])
        result = cove.cove("up", check=False)
        assert result.returncode == 1
        assert "COVE_API_PORT" in result.stderr
        assert not cove.run.exists()
    cove.environment["COVE_API_PORT"] = "0"


def test_directories_that_others_use_too(cove: CoveInstance, open_directory: Path) -> None:
    cove.cove("down", "--purge")
    for path in (cove.state, cove.run):
        path.mkdir()
        path.chmod(0o1777)
        (path / "precious").write_text("of somebody else")
    cove.up()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (cove.state, cove.run)] == [0o1777, 0o1777]
    result = cove.cove("down", "--purge")
    assert "precious" in result.stderr
    for path in (cove.state, cove.run):
        assert [entry.name for entry in path.iterdir()] == ["precious"]
        (path / "precious").unlink()
        path.rmdir()


def test_who_may_read_what(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    make_network(cove)
    server_id = cove.json("boot", "vm", "--network", "lab")["id"]
    token = (cove.run / "token").read_text().strip()
    open_to_others = []
    for directory in (cove.run, cove.state):
        for path in directory.rglob("*"):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) or path.is_relative_to(cove.state / "guest"):
                continue  # the guest's kernel is no secret
            if mode & (0o022 if path.is_dir() else 0o077):
                open_to_others.append(f"{path} {stat.filemode(mode)}")
    # dnsmasq runs unprivileged, and reads what it serves; nobody else is the wiser for it
    assert [entry for entry in open_to_others if "/dhcp/" not in entry] == []
    assert [entry for entry in open_to_others if entry.split()[1][-2] == "w"] == []
    assert token not in (cove.state / "log" / "cove.log").read_text()
    assert not processes_that_mention(token)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    run = cove.run / "instances" / server_id
    for path in (cove.run / "token", cove.run / "endpoint.json", cove.run / "cove.pid", run / "pid"):
        assert subprocess.run([*as_nobody, "cat", str(path)], capture_output=True, check=False).returncode != 0
    for path in (run / "serial.sock", run / "qmp.sock", run / "disk.sock"):
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        tried = subprocess.run(
            [*as_nobody, "/usr/bin/python3", "-c", connect], capture_output=True, text=True, check=False
        )
        assert "PermissionError" in tried.stderr, path


def test_names_in_paths_are_only_names(cove: CoveInstance) -> None:
    cove.cove("rbd", "create", "rbd/disk", "--size", "8M")
    for name in ("disk?x", "disk#x", "disk%23", "x%2f..%2fdisk", "disk/", "../images/disk", "disk;x", "dïsk", "."):
        assert cove.cove("rbd", "rm", f"rbd/{name}", check=False).returncode in (1, 2), name
        assert cove.cove("image", "delete", f"../../rbd/images/{name}", check=False).returncode == 1, name
    assert [image["name"] for image in cove.json("rbd", "ls")] == ["disk"]
    for name in ("..", "x" * 97, "a\nb", "a@b"):
        assert cove.cove("rbd", "create", f"rbd/{name}", "--size", "8M", check=False).returncode in (1, 2), name
    cove.cove("rbd", "create", "rbd/50% ä?#", "--size", "8M")
    assert cove.json("rbd", "info", "rbd/50% ä?#")["name"] == "50% ä?#"
    cove.cove("rbd", "rm", "rbd/50% ä?#")


def test_the_disk_of_a_server_is_removed_with_it_only(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    make_network(cove)
    cove.cove("boot", "vm", "--network", "lab")
    cove.cove("server", "stop", "vm")
    refused = cove.cove("rbd", "rm", "rbd/vm-disk", check=False)
    assert refused.returncode == 1
    assert "server vm" in refused.stderr
    cove.cove("server", "delete", "vm")
    assert cove.json("rbd", "ls") == []


def test_a_start_that_fails_is_told_at_once(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    make_network(cove)
    cove.cove("boot", "vm", "--network", "lab")
    cove.cove("server", "stop", "vm")
    (cove.state / "guest").rename(cove.state / "guest-away")
    began = time.monotonic()
    failed = cove.cove("server", "start", "vm", check=False)
    assert failed.returncode == 1
    assert "cove guest build" in failed.stderr
    assert time.monotonic() - began < 20
    early = cove.cove("boot", "other", "--network", "lab", check=False)
    assert "cove guest build" in early.stderr
    assert [port for port in cove.json("port", "list") if port["device_owner"] != "network:dhcp"][1:] == []
    (cove.state / "guest-away").rename(cove.state / "guest")
    cove.cove("server", "start", "vm")
