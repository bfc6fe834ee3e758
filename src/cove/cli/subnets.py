"""`cove subnet`: create, list, show, delete."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from .client import Client
from .output import Format, FormatOption, print_one
from .resources import delete_resources, list_resources, show_resource

app = typer.Typer(help="Subnets.", no_args_is_help=True)
COLUMNS = ("name", "cidr", "gateway", "dhcp", "pools", "id")


class IPv6Mode(enum.Enum):
    """Values of ipv6_ra_mode and ipv6_address_mode."""

    SLAAC = "slaac"
    STATEFUL = "dhcpv6-stateful"
    STATELESS = "dhcpv6-stateless"


def with_pools(subnet: dict[str, Any]) -> dict[str, Any]:
    """Add short columns."""
    pools = [f"{pool['start']}-{pool['end']}" for pool in subnet.get("allocation_pools", ())]
    return subnet | {"pools": pools, "gateway": subnet.get("gateway_ip"), "dhcp": subnet.get("enable_dhcp")}


def parse_pool(text: str) -> dict[str, str]:
    """`10.0.0.10-10.0.0.20` → a pool. Raises typer.BadParameter."""
    start, dash, end = text.partition("-")
    if not dash:
        raise typer.BadParameter(f"{text!r} is no pool: give FIRST-LAST, such as 10.0.0.10-10.0.0.20")
    return {"start": start.strip(), "end": end.strip()}


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    network: Annotated[str, typer.Option(metavar="N", help="Name or id of the network.")],
    cidr: Annotated[str, typer.Option(metavar="CIDR", help="Such as 10.0.0.0/24 or fd00:1::/64.")],
    gateway: Annotated[
        str | None, typer.Option(metavar="A", help="An address, or none. Default: the first address.")
    ] = None,
    pool: Annotated[
        list[str] | None, typer.Option(metavar="FIRST-LAST", help="Repeatable. Default: all but the gateway.")
    ] = None,
    dhcp: Annotated[bool, typer.Option(help="Serve the subnet by DHCP.")] = True,
    dns: Annotated[list[str] | None, typer.Option(metavar="A", help="Address of a name server; repeatable.")] = None,
    ipv6_mode: Annotated[
        IPv6Mode | None, typer.Option(help="How guests come by their IPv6 addresses, and who advertises them: Cove.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Create a subnet."""
    with Client.open() as client:
        attributes: dict[str, Any] = {
            "name": name,
            "network_id": client.find("networks", network)["id"],
            "cidr": cidr,
            "ip_version": 6 if ":" in cidr else 4,
            "enable_dhcp": dhcp,
        }
        if gateway is not None:
            attributes["gateway_ip"] = None if gateway == "none" else gateway
        if pool:
            attributes["allocation_pools"] = [parse_pool(text) for text in pool]
        if dns:
            attributes["dns_nameservers"] = dns
        if ipv6_mode is not None:
            attributes |= {"ipv6_ra_mode": ipv6_mode.value, "ipv6_address_mode": ipv6_mode.value}
        print_one(client.post("/v2.0/subnets", {"subnet": attributes})["subnet"], format)


@app.command("list")
def list_(
    network: Annotated[str | None, typer.Option(metavar="N", help="Only of this network.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List subnets."""
    list_resources(
        "subnets",
        COLUMNS,
        format,
        network=network,
        for_people=with_pools,
        empty="no subnets: `cove subnet create NAME --network N --cidr 10.0.0.0/24` makes one",
    )


@app.command()
def show(
    subnet: Annotated[str, typer.Argument(metavar="SUBNET", help="Name or id.")], format: FormatOption = Format.TABLE
) -> None:
    """Show a subnet, by name or id."""
    show_resource("subnets", subnet, format)


@app.command()
def delete(subnets: Annotated[list[str], typer.Argument(metavar="SUBNET", help="Names or ids.")]) -> None:
    """Delete subnets, by name or id."""
    delete_resources("subnets", subnets)
