"""The `openstack` command line as a test uses it: words in, exit code and decoded JSON out."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .cloud import PEERS, Cloud

COMMAND_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one command."""

    words: str
    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """The output, decoded. Raises ValueError."""
        return json.loads(self.output)


class OpenStackCli:
    """`openstack` for several users of a cloud, a process each."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)

    def try_(self, user: str, command: str) -> Outcome:
        """Run a command, quoted as in a shell, without `openstack`."""
        process = self._processes.get(user)
        if process is None:
            process = self._processes[user] = subprocess.Popen(
                [str(PEERS / "bin/python"), str(Path(__file__).with_name("cli_driver.py"))],
                env=self._cloud.client_environment(user),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(COMMAND_TIMEOUT_S, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(shlex.split(command)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise AssertionError(f"openstack {command}: the client ended or took more than {COMMAND_TIMEOUT_S:.0f} s")
        return Outcome(command, **json.loads(line))

    def run(self, user: str, command: str) -> str:
        """Run a command that must succeed; its output."""
        outcome = self.try_(user, command)
        assert outcome.code == 0, f"openstack {command} → {outcome.code}\n{outcome.output}\n{outcome.errors}"
        return outcome.output

    def json(self, user: str, command: str) -> Any:
        """Run a command that must succeed, with `-f json`; what it prints."""
        output = self.run(user, f"{command} -f json")
        return json.loads(output)

    def fails(self, user: str, command: str) -> str:
        """Run a command that must fail; what it says."""
        outcome = self.try_(user, command)
        assert outcome.code != 0, f"openstack {command} succeeded:\n{outcome.output}"
        return outcome.output + outcome.errors
