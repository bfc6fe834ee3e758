"""`python -m cove.daemon`: run the server until it is told to stop.

SIGTERM, SIGINT and SIGHUP end the server only: VMs and DHCP servers go on, and the next start takes them over.
`cove down` (POST /cove/v1/shutdown) ends those too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Protocol

import structlog
import uvloop

from ..config import Settings
from .logs import configure_logs

log = structlog.get_logger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGE_BLOCK_BYTES = 16 << 20
FREE_BYTES_MAX = 8 << 20


def say(fd: int | None, message: str) -> None:
    """Tell whoever started us, in one line."""
    if fd is None:
        sys.stderr.write(message + "\n")
        return
    with contextlib.suppress(OSError):
        os.write(fd, (message.replace("\n", " ") + "\n").encode())
        os.close(fd)


def keep_to_ourselves() -> None:
    """Files are for their owner alone, and there are no core files: passwords and tokens are in memory, guests' too."""
    os.umask(0o077)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def give_memory_back() -> None:
    """Large blocks go back to the system when they are free. Of itself glibc keeps what it was asked for once: 19 MiB
    for each thread that hashes passwords. Smaller ones, such as a disk's requests, are used again (mallopt(3)).
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(M_TRIM_THRESHOLD, FREE_BYTES_MAX)


class Startable(Protocol):
    """A server that is started, waited for and stopped: Service and ApiService."""

    stop_requested: asyncio.Event

    def request_stop(self) -> None:
        """Ask it to end."""

    async def start(self) -> None:
        """Start everything."""

    async def stop(self) -> None:
        """Stop everything."""


async def run(service: Startable, ready_fd: int | None, ready: Callable[[], str] = lambda: "ready") -> int:
    """Serve until a signal or a shutdown request; the exit code."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, service.request_stop)
    try:
        await service.start()
    except Exception as error:
        log.exception("start_failed")
        say(ready_fd, f"the server could not start: {error}")
        await service.stop()
        return 1
    gc.freeze()  # what lives for ever needs no walking over
    say(ready_fd, ready())
    await service.stop_requested.wait()
    await service.stop()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cove.daemon", description="Cove's server; use `cove up`.")
    parser.add_argument("--ready-fd", type=int, default=None, help="descriptor to write `ready` or an error to")
    options = parser.parse_args(arguments)
    keep_to_ourselves()
    give_memory_back()
    configure_logs()
    return uvloop.run(_serve_all(Settings(), options.ready_fd))


async def _serve_all(settings: Settings, ready_fd: int | None) -> int:
    from .service import Service

    return await run(Service(settings), ready_fd)


def serve_api(settings: Settings) -> int:
    """`cove server`: serve the API in the foreground; the exit code. Raises CoveError."""
    from .api_service import ApiService

    service = ApiService(settings)
    keep_to_ourselves()
    give_memory_back()
    configure_logs()
    return uvloop.run(run(service, None, lambda: f"ready: {service.api_url}"))


if __name__ == "__main__":
    sys.exit(main())
