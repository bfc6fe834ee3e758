"""Assembles the `cove` command, and turns errors into one clear line and an exit code."""

from __future__ import annotations

import logging
import sys

import structlog
import typer

from .. import __version__
from ..errors import CoveError
from . import demo, guest, images, lifecycle, network, ports, rbd, servers, subnets
from .output import errors

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
app.add_typer(network.app, name="network")
app.add_typer(subnets.app, name="subnet")
app.add_typer(ports.app, name="port")
app.add_typer(servers.app, name="server")
servers.register(app)
app.add_typer(images.app, name="image")
app.add_typer(rbd.app, name="rbd")
app.add_typer(guest.app, name="guest")
demo.register(app)


def main() -> None:
    """Entry point of the `cove` command."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        app()
    except CoveError as error:
        errors.print(f"[bold red]error:[/] {_escaped(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(130)


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
