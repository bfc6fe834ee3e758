"""`cove up`, `cove down`, `cove status`, `cove doctor`: the life of the server on this machine."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CoveError
from .client import Client, NotRunning, load_settings
from .clouds import hint
from .output import Format, FormatOption, console, errors, print_json, print_list, print_one, quiet_logs
from .waiting import wait_for

if TYPE_CHECKING:
    from ..config import Settings

READY_TIMEOUT_S = 60.0
DOWN_TIMEOUT_S = 90.0
LOG_BYTES_MAX = 16 << 20


def running_pid(settings: Settings) -> int | None:
    """Pid of the running server, None if there is none. Its lock on the pid file decides, not the file's text."""
    from ..daemon.pidfile import holder

    return holder(settings.run_dir / "cove.pid")


def start_server(settings: Settings, **overrides: str) -> float:
    """Start the server in the background; the seconds until its API was ready. Raises CoveError with its own words."""
    from ..daemon.places import make_directories

    began = time.monotonic()
    make_directories(settings)
    log_file = settings.state_dir / "log" / "cove.log"
    log_fd = _open_log(log_file)
    read_end, write_end = os.pipe()
    try:
        server = subprocess.Popen(
            [sys.executable, "-m", "cove.daemon", f"--ready-fd={write_end}"],
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=(write_end,),
            start_new_session=True,
            cwd="/",  # Python looks for modules there first: not where somebody else may have put some
            env=os.environ
            | {"COVE_STATE_DIR": str(settings.state_dir), "COVE_RUN_DIR": str(settings.run_dir)}
            | overrides,
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
        raise CoveError(f"the server was not ready within {READY_TIMEOUT_S:.0f} s: see {log_file}")
    raise CoveError(message or f"the server ended while starting: see {log_file}")


def _open_log(path: Path) -> int:
    """A descriptor that appends to the log, which is begun anew at a start once it is large; one old log is kept."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.rename(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


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
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in the foreground; Ctrl-C stops it.")] = False,
) -> None:
    """Start Cove on this machine.

    VMs and leases of an earlier run are taken over.
    """
    settings = load_settings()
    if os.geteuid() != 0:
        raise CoveError("`cove up` needs root, for network namespaces and devices: sudo cove up")
    pid = running_pid(settings)
    if pid is not None:
        with console.status("Cove is just starting"):
            url = _wait_for_endpoint(settings)
        console.print(f"Cove is running already (pid {pid}) at {url}", markup=False)
        return
    if foreground:
        from ..daemon.__main__ import main as run_server

        raise typer.Exit(run_server([]))
    with console.status("starting Cove"):
        seconds = start_server(settings)
    console.print(f"Cove is up at {_wait_for_endpoint(settings)} after {seconds:.1f} s", markup=False)
    for line in hint(settings):
        console.print(line, markup=False, soft_wrap=True)


def _wait_for_endpoint(settings: Settings) -> str:
    """URL of the API of the server that runs, as soon as it answers. Raises CoveError."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            with Client.open(settings) as client:
                client.get("/healthz")
                return str(client.http.base_url)
        except NotRunning:
            if time.monotonic() > deadline or running_pid(settings) is None:
                raise
        time.sleep(0.05)


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Delete the state too: database, disks, images.")] = False,
) -> None:
    """Stop Cove and its VMs; the state stays.

    No process, namespace, device or temporary file is left.
    """
    from ..daemon.places import RUN_NAMES, STATE_NAMES, holds_state, remove_ours

    settings = load_settings()
    if os.geteuid() != 0:
        raise CoveError("`cove down` needs root: sudo cove down")
    pid = running_pid(settings)
    ran = pid is not None
    if pid is None and _something_is_left(settings):
        with console.status("meeting what a server that was killed has left"):
            start_server(settings, COVE_API_PORT="0")  # it takes VMs and DHCP servers over, to end them
        pid = running_pid(settings)
    if pid is not None:
        still = (
            f"the server (pid {pid}) still runs after {DOWN_TIMEOUT_S:.0f} s: see its log in {settings.state_dir}/log"
        )
        with console.status("stopping VMs, DHCP servers and the server"):
            _wait_for_endpoint(settings)
            with Client.open(settings) as client:
                client.post("/cove/v1/shutdown", {})
            wait_for(lambda: True if running_pid(settings) is None else None, DOWN_TIMEOUT_S, still)
    remove_ours(settings.run_dir, RUN_NAMES)
    words = "Cove is down" if ran else "Cove was not running"
    if not purge:
        console.print(words + (f"; its state stays in {settings.state_dir}" if holds_state(settings.state_dir) else ""))
        return
    left = []
    if settings.state_dir.exists():
        foreign = set(os.listdir(settings.state_dir)) - STATE_NAMES
        if foreign and not holds_state(settings.state_dir):
            raise CoveError(f"{settings.state_dir} does not look like Cove's state: delete it by hand if it is")
        with console.status(f"deleting {settings.state_dir}"):
            left = remove_ours(settings.state_dir, STATE_NAMES)
    console.print(f"{words}, its state deleted", markup=False)
    if left:
        errors.print(f"{settings.state_dir} stays: {', '.join(left[:5])} in it is not Cove's", markup=False)


def _something_is_left(settings: Settings) -> bool:
    """Whether VMs or DHCP servers may be there without a server: `cove down` leaves neither directory behind."""
    if (settings.run_dir / "cove.pid").exists() or (settings.run_dir / "instances").exists():
        return True
    return any((settings.state_dir / "dhcp").glob("*/pid"))


def status(format: FormatOption = Format.TABLE) -> None:
    """Say whether Cove runs here, and what it serves."""
    settings = load_settings()
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
    print_one(state, format)


def doctor(
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something is missing.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Say what this machine lacks for Cove, and how to get it."""
    from ..compute.doctor import examine, host_probes

    quiet_logs()
    findings = examine(host_probes(load_settings().state_dir))
    rows = [{"check": f.name, "status": str(f.health), "found": f.found, "remedy": f.remedy} for f in findings]
    missing = [row["check"] for row in rows if row["status"] == "missing"]
    if missing or not quiet:
        print_list(rows, ("check", "status", "found", "remedy"), format, empty="nothing to check")
    if missing:
        errors.print(f"Cove can't run here yet: {', '.join(missing)}", markup=False)
        raise typer.Exit(1)
    if not quiet and format is Format.TABLE:
        console.print("Cove can run here.")


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    for command in (up, down, status, doctor):
        app.command()(command)
