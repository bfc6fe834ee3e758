"""Asking librados: the caller's end of `librados_peer.py`, with a time-out for every question."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEBIAN_PYTHON = os.environ.get("COVE_CEPH_PYTHON", "/usr/bin/python3")  # the one that can import `rados`
ANSWER_TIMEOUT_S = 60.0
SCRIPT = Path(__file__).with_name("librados_peer.py")


class LibradosError(Exception):
    """librados refused: `result` is the negative error number."""

    def __init__(self, result: int, text: str) -> None:
        super().__init__(f"{text} ({result})")
        self.result = result


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"hex": bytes(value).hex()}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if set(value) == {"hex"} else {key: _rich(v) for key, v in value.items()}
    return [_rich(item) for item in value] if isinstance(value, list) else value


class Librados:
    """A librados client in a process of its own."""

    def __init__(self, conf: Path, name: str = "client.admin", **options: str) -> None:
        self._process = subprocess.Popen(
            [DEBIAN_PYTHON, str(SCRIPT), str(conf), name, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, do: str, *args: Any, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """One request. Raises LibradosError; TimeoutError, after which this client is closed."""
        process = self._process
        assert process.stdin is not None
        process.stdin.write(json.dumps({"do": do, "args": _plain(args)}).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(self._line(timeout_s, do))
        if "error" in answer:
            raise LibradosError(answer["error"], answer["text"])
        return _rich(answer["value"])

    def _line(self, timeout_s: float, what: str) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        pieces: list[bytes] = []
        while not pieces or not pieces[-1].endswith(b"\n"):  # it says nothing without being asked
            ready, _, _ = select.select([descriptor], [], [], timeout_s)
            piece = os.read(descriptor, 1 << 20) if ready else b""
            if not piece:
                self.close()
                raise TimeoutError(f"librados: no answer to {what} within {timeout_s} s, or it has ended")
            pieces.append(piece)
        return b"".join(pieces)

    # what is asked most

    def call(self, pool: str, method: str, *args: Any, nspace: str = "", locator: str = "") -> Any:
        """A method of python3-rados' io context."""
        return self.ask("call", [pool, nspace, locator], method, *args)

    def read(self, pool: str, oid: str, length: int = 1 << 24, offset: int = 0, nspace: str = "") -> bytes:
        """Data of an object."""
        return bytes(self.call(pool, "read", oid, length, offset, nspace=nspace))

    def command(self, target: str | int, *, indata: bytes = b"", **command: Any) -> tuple[int, bytes, str]:
        """A command for "mon", "mgr" or an OSD: result, output, status line."""
        answer = self.ask("command", target, command, indata)
        return answer["code"], answer["out"], answer["status"]

    def mon(self, prefix: str, **command: Any) -> Any:
        """A monitor command that must succeed; its JSON."""
        code, out, status = self.command("mon", prefix=prefix, format="json", **command)
        if code:
            raise LibradosError(code, f"{prefix} {command}: {status}")
        return json.loads(out) if out.strip() else None

    def close(self) -> None:
        """End the process; twice is no error."""
        process = self._process
        if process.poll() is None:
            process.kill()  # librados may hang in its shutdown when the cluster is away
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass
