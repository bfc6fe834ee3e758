"""`cove port`: create, list, show, delete."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .client import Client
from .output import Format, FormatOption, print_one
from .resources import delete_resources, list_resources, show_resource

app = typer.Typer(help="Ports: a MAC address and IP addresses on a network.", no_args_is_help=True)
COLUMNS = ("name", "mac_address", "addresses", "status", "device_owner", "id")


def with_addresses(port: dict[str, Any]) -> dict[str, Any]:
    """Add a short column of the IP addresses."""
    return port | {"addresses": [ip["ip_address"] for ip in port.get("fixed_ips", ())]}


@app.command()
def create(
    network: Annotated[str, typer.Option(metavar="N", help="Name or id of the network.")],
    name: Annotated[str, typer.Argument(metavar="NAME")] = "",
    ip: Annotated[
        list[str] | None, typer.Option(metavar="A", help="An address to have; repeatable. Default: the next free one.")
    ] = None,
    mac: Annotated[str | None, typer.Option(metavar="M", help="Default: a new one.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Create a port."""
    with Client.open() as client:
        attributes: dict[str, Any] = {"name": name, "network_id": client.find("networks", network)["id"]}
        if ip:
            attributes["fixed_ips"] = [{"ip_address": address} for address in ip]
        if mac:
            attributes["mac_address"] = mac
        print_one(client.post("/v2.0/ports", {"port": attributes})["port"], format)


@app.command("list")
def list_(
    network: Annotated[str | None, typer.Option(metavar="N", help="Only of this network.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List ports."""
    list_resources(
        "ports",
        COLUMNS,
        format,
        network=network,
        for_people=with_addresses,
        empty="no ports: `cove port create --network N` makes one",
    )


@app.command()
def show(
    port: Annotated[str, typer.Argument(metavar="PORT", help="Name or id.")], format: FormatOption = Format.TABLE
) -> None:
    """Show a port, by name or id."""
    show_resource("ports", port, format)


@app.command()
def delete(ports: Annotated[list[str], typer.Argument(metavar="PORT", help="Names or ids.")]) -> None:
    """Delete ports, by name or id."""
    delete_resources("ports", ports)
