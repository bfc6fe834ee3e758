"""`cove rados` for the tests that run it on a real cluster: within this process, or as a program where that matters."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGHUP, SIGTERM, signal
from typing import Any
from unittest.mock import patch

from cove.cli.main import main

from .ceph_cluster import CephCluster

RUN_TIMEOUT_S = 60


class Cove:
    """Runs the command."""

    def __init__(self, cluster: CephCluster) -> None:
        self.conf = cluster.conf_path
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("CEPH_")}

    def command(self, *words: str | Path) -> list[str]:
        """What is run."""
        return [sys.executable, "-m", "cove.cli", "rados", *map(str, words)]

    def program(self, *words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Its result as a process of its own."""
        command = self.command("-c", self.conf, *words)
        return subprocess.run(
            command, input=stdin, capture_output=True, timeout=RUN_TIMEOUT_S, env=self.environment, check=False
        )

    def run(self, *words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Its result, whatever it is; without the time that a process takes to start."""
        command = self.command("-c", self.conf, *words)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with _piped(stdin) as source, _as_program(["cove", *command[3:]], source, out, err, self.environment):
                try:
                    main()
                    code = 0
                except SystemExit as ended:
                    code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())

    def __call__(self, *words: str | Path, stdin: bytes = b"") -> bytes:
        """Its output; nothing went wrong."""
        result = self.run(*words, stdin=stdin)
        assert result.returncode == 0, result.stderr.decode()
        assert result.stderr == b""
        return result.stdout

    def json(self, *words: str | Path) -> Any:
        """Its output for programs."""
        return json.loads(self(*words, "--format", "json"))

    def refused(self, *words: str | Path, code: int = 1, stdin: bytes = b"", lines: int = 1) -> str:
        """The one line of an error (or so many)."""
        result = self.run(*words, stdin=stdin)
        assert result.returncode == code, result
        text = result.stderr.decode()
        assert len(text.splitlines()) == lines, text
        return text


@contextmanager
def _piped(data: bytes) -> Iterator[int]:
    """A pipe to read the data from."""
    ours, theirs = os.pipe()

    def write() -> None:
        with os.fdopen(theirs, "wb") as pipe:
            try:
                pipe.write(data)
            except BrokenPipeError:  # not all of it was wanted
                pass

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield ours
    finally:
        os.close(ours)
        writer.join()


@contextmanager
def _as_program(words: list[str], source: int, out: Any, err: Any, environment: Mapping[str, str]) -> Iterator[None]:
    """This process, as the command finds it when it is one of its own."""
    streams: list[io.TextIOWrapper] = [
        io.TextIOWrapper(os.fdopen(os.dup(source), "rb"), encoding="utf-8", errors="surrogateescape"),
        io.TextIOWrapper(os.fdopen(os.dup(out.fileno()), "wb"), encoding="utf-8"),
        io.TextIOWrapper(os.fdopen(os.dup(err.fileno()), "wb"), encoding="utf-8"),
    ]
    handlers = [(number, signal(number, lambda *_: None)) for number in (SIGTERM, SIGHUP)]
    log = logging.getLogger("cove")
    level = log.level
    try:
        with (
            patch.multiple(sys, argv=words, stdin=streams[0], stdout=streams[1], stderr=streams[2]),
            patch.dict(os.environ, environment, clear=True),
        ):
            yield
    finally:
        log.setLevel(level)
        for number, handler in handlers:
            signal(number, handler)
        for stream in streams:
            stream.close()
