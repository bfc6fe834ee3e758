"""`cove server` processes for tests, on one PostgreSQL database, beside a `Cloud` that has the DHCP agent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from .cloud import REPOSITORY

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


class ApiProcess:
    """One process; its log is a file in `directory`."""

    def __init__(self, directory: Path, database_url: str, name: str, **settings: str) -> None:
        self.directory = directory
        self.log = directory / f"{name}.log"
        self._environment = os.environ | {
            "COVE_STATE_DIR": str(directory / name / "state"),
            "COVE_RUN_DIR": str(directory / name / "run"),
            "COVE_CONFIG_FILE": str(directory / "none.toml"),
            "COVE_DATABASE_URL": database_url,
            **{f"COVE_{key.upper()}": value for key, value in settings.items()},
        }
        self.url = ""

    def __enter__(self) -> Self:
        self.begin()
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin(self) -> None:
        """Start the process; it is not ready yet."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cove.cli", "server", "--api-port", "0"],
                env=self._environment,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Wait until it says so; `url` is where."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            ready = re.findall(r"^ready: (\S+)$", self.log.read_text(errors="replace"), re.MULTILINE)
            if ready:
                self.url = ready[-1]
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server is not ready: {self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(STOP_TIMEOUT_S)

    def problems(self) -> list[str]:
        """Lines of the log that tell of something that went wrong."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "Traceback" in line or '"level": "error"' in line]
