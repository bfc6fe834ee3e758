"""`cove up`, `cove down`, `cove status`, `cove doctor`: the life of the server on this machine."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from typing import Annotated

import typer

from ..config import Settings
from ..errors import CoveError
from .client import Client, NotRunning
from .output import Format, FormatOption, console, print_json, print_list

READY_TIMEOUT_S = 60.0
DOWN_TIMEOUT_S = 90.0


def running_pid(settings: Settings) -> int | None:
    """Pid of the running server, None if there is none. Its lock on the pid file decides, not the file's text."""
    from ..daemon.pidfile import holder

    return holder(settings.run_dir / "cove.pid")


def start_server(settings: Settings) -> float:
    """Start the server in the background; the seconds until its API was ready. Raises CoveError with its own words."""
    began = time.monotonic()
    read_end, write_end = os.pipe()
    log_dir = settings.state_dir / "log"
    settings.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    log_dir.mkdir(mode=0o700, exist_ok=True)
    log_fd = os.open(log_dir / "cove.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        server = subprocess.Popen(
            [sys.executable, "-m", "cove.daemon", f"--ready-fd={write_end}"],
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=(write_end,),
            start_new_session=True,
        )
    finally:
        os.close(log_fd)
        os.close(write_end)
    try:
        message = _read_line(read_end, READY_TIMEOUT_S)
    finally:
        os.close(read_end)
    if message == "ready":
        return time.monotonic() - began
    if message is None:
        server.kill()
        raise CoveError(f"the server was not ready within {READY_TIMEOUT_S:.0f} s: see {log_dir}/cove.log")
    raise CoveError(message or f"the server ended while starting: see {log_dir}/cove.log")


def _read_line(fd: int, timeout_s: float) -> str | None:
    """What the server says through its ready pipe; "" if it died without a word, None if it said nothing in time."""
    text, deadline = b"", time.monotonic() + timeout_s
    while not text.endswith(b"\n"):
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        chunk = os.read(fd, 4096)
        if not chunk:
            break
        text += chunk
    return text.decode().strip()


def up(
    foreground: Annotated[bool, typer.Option(help="Stay in the foreground; Ctrl-C stops the server.")] = False,
) -> None:
    """Start Cove on this machine. VMs and leases of an earlier run are taken over."""
    settings = Settings()
    if os.geteuid() != 0:
        raise CoveError("`cove up` needs root, for network namespaces and devices: sudo cove up")
    pid = running_pid(settings)
    if pid is not None:
        console.print(f"Cove is running already (pid {pid}): {settings.api_url}", markup=False)
        return
    if foreground:
        from ..daemon.__main__ import main as run_server

        raise typer.Exit(run_server([]))
    seconds = start_server(settings)
    with Client.open(settings) as client:
        console.print(f"Cove is up at {client.http.base_url} after {seconds:.1f} s", markup=False)


def down(
    purge: Annotated[bool, typer.Option(help="Delete the state too: database, store, guest images.")] = False,
) -> None:
    """Stop Cove and its VMs: no process, namespace, device or temporary file is left. State stays unless --purge."""
    settings = Settings()
    if os.geteuid() != 0:
        raise CoveError("`cove down` needs root: sudo cove down")
    pid = running_pid(settings)
    if pid is None and (settings.run_dir.exists() or (settings.state_dir / "cove.sqlite").exists()):
        start_server(settings)  # a server that was killed left VMs and DHCP servers: take them over to end them
        pid = running_pid(settings)
    if pid is not None:
        with console.status("stopping VMs, DHCP servers and the server"):
            with Client.open(settings) as client:
                client.post("/cove/v1/shutdown", {})
            _wait_until_gone(settings, DOWN_TIMEOUT_S)
    if purge:
        _purge(settings)
    console.print("Cove is down" + (", its state deleted" if purge else f"; its state stays in {settings.state_dir}"))


def _wait_until_gone(settings: Settings, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while (pid := running_pid(settings)) is not None:
        if time.monotonic() > deadline:
            raise CoveError(
                f"the server (pid {pid}) still runs after {timeout_s:.0f} s: see its log in {settings.state_dir}/log"
            )
        time.sleep(0.05)


def _purge(settings: Settings) -> None:
    """Delete the state directory, if it looks like one of ours."""
    if not settings.state_dir.exists():
        return
    if not (settings.state_dir / "cove.sqlite").exists() and not (settings.state_dir / "store").exists():
        raise CoveError(f"{settings.state_dir} does not look like Cove's state: delete it by hand if it is")
    shutil.rmtree(settings.state_dir)


def status(format: FormatOption = Format.TABLE) -> None:
    """Say whether Cove runs here, and what it serves."""
    settings = Settings()
    try:
        with Client.open(settings) as client:
            state = client.get("/cove/v1/status")
    except NotRunning as error:
        if format is Format.JSON:
            print_json({"running": False})
        else:
            console.print(str(error), markup=False)
        raise typer.Exit(3) from None
    if format is Format.JSON:
        print_json({"running": True} | state)
        return
    for name, value in state.items():
        console.print(f"{name:12} {value}", markup=False)


def doctor(
    quiet: Annotated[bool, typer.Option(help="Say nothing unless something is missing.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Say what this machine lacks for Cove, and how to get it."""
    from ..compute.doctor import examine, host_probes

    findings = examine(host_probes(Settings().state_dir))
    rows = [{"check": f.name, "status": str(f.health), "found": f.found, "remedy": f.remedy} for f in findings]
    missing = any(row["status"] == "missing" for row in rows)
    if missing or not quiet:
        print_list(rows, ("check", "status", "found", "remedy"), format, empty="nothing to check")
    if missing:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    for command in (up, down, status, doctor):
        app.command()(command)
