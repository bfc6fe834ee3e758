"""Assembles the `cove` command, and turns errors into one clear line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import Any

import typer
from rich.text import Text

from .. import __version__
from ..errors import CoveError
from . import api_server, clouds, database, demo, guest, images, lifecycle, network, ports, rados, rbd, servers, subnets
from .output import errors, printable_lines

app = typer.Typer(
    name="cove",
    help="Cove gives every virtual machine an address and a disk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def show_version(value: bool) -> None:
    """Print the version and leave."""
    if value:
        typer.echo(f"cove {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Show the version."),
) -> None:
    """Cove gives every virtual machine an address and a disk."""


lifecycle.register(app)
clouds.register(app)
app.add_typer(network.app, name="network")
app.add_typer(subnets.app, name="subnet")
app.add_typer(ports.app, name="port")
api_server.register(servers.app)
app.add_typer(servers.app, name="server")
servers.register(app)
app.add_typer(images.app, name="image")
app.add_typer(rbd.app, name="rbd")
app.add_typer(rados.app, name="rados")
app.add_typer(guest.app, name="guest")
app.add_typer(database.app, name="db")
demo.register(app)


def main() -> None:
    """Entry point of the `cove` command."""
    # Whoever ends a command ends what it has begun, too: an export, an import, a temporary file.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no such characters is no reason to fail
    try:
        app()
    except CoveError as error:
        _say(str(error), *getattr(error, "__notes__", ()))
        sys.exit(1)
    except OSError as error:
        _say(_in_words(error))
        sys.exit(1)
    except ValueError as error:
        if type(error).__name__ != "ValidationError":  # of the settings; importing its class here costs time
            raise
        _say(_settings_problem(error))
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(128 + signal.SIGINT)


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _say(*lines: str) -> None:
    errors.print(Text.assemble(("error:", "bold red"), " ", "\n".join(printable_lines(lines))))


def _in_words(error: OSError) -> str:
    """An error of the machine's, with a way out where there is a usual one."""
    text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.errno == errno.ENOSPC:
        return f"{text}: free some space, or point state_dir (COVE_STATE_DIR) at a larger file system"
    return f"{text}: run it as root" if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() else text


def _settings_problem(error: Any) -> str:
    """pydantic's ValidationError: which settings, and what is wrong with them."""
    problems = [f"{'.'.join(map(str, found['loc']))} {found['input']!r}: {found['msg']}" for found in error.errors()]
    return f"bad settings (COVE_… in the environment, or the file): {'; '.join(problems)}"
