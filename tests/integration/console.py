"""A guest's console, typed on by a program."""

from __future__ import annotations

import itertools
import socket
import time
from types import TracebackType

ANSWER_TIMEOUT_S = 60.0


class Console:
    """Runs commands in the guest's shell on its serial console."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(1.0)
        self._socket.connect(path)
        self._marks = itertools.count(1)

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def run(self, command: str, timeout_s: float = ANSWER_TIMEOUT_S) -> tuple[int, str]:
        """Exit code and output of a command."""
        mark = f"done-{next(self._marks)}-"
        # What is typed comes back as an echo: the mark is put together only by the shell.
        self._socket.sendall(f"{command}; echo {mark[:4]}''{mark[4:]}$?\n".encode())
        seen, deadline = "", time.monotonic() + timeout_s
        while mark not in seen or "\n" not in seen.rpartition(mark)[2]:
            assert time.monotonic() < deadline, f"{command}: {seen}"
            try:
                seen += self._socket.recv(65536).decode(errors="replace")
            except TimeoutError:
                continue
        output, _, rest = seen.replace("\r", "").rpartition(mark)
        return int(rest.split()[0]), output.partition("\n")[2]
