"""A whole Cove of its own for a test: own state and run directory, any free port, real `cove` commands."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")


def eventually(probe: Callable[[], T], timeout_s: float = 30.0, what: str = "") -> T:
    """Ask until the answer is true. A deadline, not a delay: it returns as soon as the answer is there."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or probe}")
        time.sleep(0.02)


class CoveInstance:
    """Runs `cove up` in the background; `close` takes everything down and fails if something is left."""

    command = (sys.executable, "-m", "cove.cli")

    def __init__(self, directory: Path, guest: Path | None = None) -> None:
        self.state = directory / "state"
        self.run = directory / "run"
        self.environment = os.environ | {
            "COVE_STATE_DIR": str(self.state),
            "COVE_RUN_DIR": str(self.run),
            "COVE_API_PORT": "0",
            "COVE_CONFIG_FILE": str(directory / "cove.toml"),
            "COLUMNS": "250",
        }
        if guest is not None:
            shutil.copytree(guest, self.state / "guest")
            self.state.chmod(0o755)

    def cove(self, *arguments: str, check: bool = True, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Run a `cove` command to its end."""
        result = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and result.returncode != 0:
            raise AssertionError(
                f"cove {arguments} → {result.returncode}\n{result.stdout}\n{result.stderr}\n{self.log_tail()}"
            )
        return result

    def json(self, *arguments: str) -> Any:
        """Run a command with --format json, and decode what it prints."""
        return json.loads(self.cove(*arguments, "--format", "json").stdout)

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        path = self.state / "log" / "cove.log"
        return "\n".join(path.read_text().splitlines()[-40:]) if path.exists() else "(no log)"

    def up(self) -> None:
        """Start the server."""
        self.cove("up", timeout_s=90)

    @property
    def pid(self) -> int:
        """Pid of the server."""
        return int((self.run / "cove.pid").read_text())

    def kill(self) -> None:
        """End the server as a crash would, and wait until it is gone."""
        pid = self.pid
        fd = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not _alive(pid), 10, "the server is gone")
        finally:
            os.close(fd)

    def client(self) -> httpx.Client:
        """An HTTP client with the token."""
        endpoint = json.loads((self.run / "endpoint.json").read_text())
        token = (self.run / "token").read_text().strip()
        return httpx.Client(base_url=endpoint["api_url"], headers={"X-Auth-Token": token}, timeout=60, trust_env=False)

    def nft_tables(self) -> list[tuple[str, str]]:
        """Family and name of the tables of nftables that are this Cove's."""
        mark = hashlib.sha256(str(self.state.absolute()).encode()).hexdigest()[:8]
        shown = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        found = [line.split()[1:3] for line in shown.splitlines()]
        return [(family, name) for family, name in found if name.startswith("cove_") and name.endswith(mark)]

    def close(self) -> None:
        """`cove down --purge`, and see that nothing is left."""
        if not self.state.exists() and not self.run.exists():
            return
        networks = self._known_networks()
        self.cove("down", "--purge", timeout_s=180)
        assert leftovers(networks) == [], "cove down left something behind"
        assert self.nft_tables() == [], "cove down left rules behind"
        assert processes_that_mention(str(self.state.parent)) == []
        assert not self.state.exists()
        assert not self.run.exists()

    def _known_networks(self) -> list[str]:
        directory = self.state / "dhcp"
        return [path.name for path in directory.iterdir()] if directory.exists() else []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def leftovers(network_ids: list[str]) -> list[str]:
    """Namespaces and bridges of these networks that are still there."""
    devices = set(os.listdir("/sys/class/net"))
    found = [f"brq{network[:11]}" for network in network_ids if f"brq{network[:11]}" in devices]
    return found + [f"qdhcp-{n}" for n in network_ids if Path(f"/run/netns/qdhcp-{n}").exists()]


def processes_that_mention(text: str) -> list[str]:
    """Command lines, of other processes, that name this text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line and _alive(int(entry.name)):
                found.append(line)
    return found
