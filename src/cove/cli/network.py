"""`cove network`: create, list, show, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from .client import Client
from .output import Format, FormatOption, print_one
from .resources import delete_resources, list_resources, show_resource

app = typer.Typer(help="Networks.", no_args_is_help=True)
COLUMNS = ("name", "status", "admin_state_up", "id")


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    mtu: Annotated[int | None, typer.Option(metavar="BYTES", help="Default: 1500.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Create a network."""
    with Client.open() as client:
        attributes = {"name": name} | ({"mtu": mtu} if mtu is not None else {})
        print_one(client.post("/v2.0/networks", {"network": attributes})["network"], format)


@app.command("list")
def list_(format: FormatOption = Format.TABLE) -> None:
    """List networks."""
    list_resources("networks", COLUMNS, format, empty="no networks: `cove network create NAME` makes one")


@app.command()
def show(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="Name or id.")], format: FormatOption = Format.TABLE
) -> None:
    """Show a network, by name or id."""
    show_resource("networks", network, format)


@app.command()
def delete(networks: Annotated[list[str], typer.Argument(metavar="NETWORK", help="Names or ids.")]) -> None:
    """Delete networks, by name or id."""
    delete_resources("networks", networks)
