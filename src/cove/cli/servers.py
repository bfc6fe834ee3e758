"""`cove boot`, `cove server list/show/start/stop/delete`, `cove console`."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import CoveError
from .boot import boot_server, start_server
from .client import Client
from .output import (
    Format,
    FormatOption,
    console,
    errors,
    human_bytes,
    parse_size,
    print_json,
    print_list,
    print_one,
    quiet_logs,
)
from .waiting import wait_for

app = typer.Typer(help="Virtual machines.", no_args_is_help=True)
COLUMNS = ("name", "status", "addresses", "image", "disk", "memory", "id")
SHOWN = (
    "name", "status", "task", "fault", "addresses", "cove:mac_address", "network", "image", "disk", "memory", "created",
    "id", "cove:port_id", "cove:console_log",
)  # fmt: skip
PROJECT = "project"
"""A column that is shown where there is more than one project's."""
ONLY_IF_SET = ("task", "fault")
SERVERS = "/v2.1/servers"
MIB = 1 << 20
DELETE_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
CONTROL_CHARACTERS = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|.)|[^\n\t -~\u00a0-\U0010ffff]")
"""What a guest must not send to the terminal of somebody who only looks at its log."""
ServerArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.")]


def for_people(server: dict[str, Any]) -> dict[str, Any]:
    """Add short columns to a server in Nova's form."""
    addresses = [entry["addr"] for entries in server.get("addresses", {}).values() for entry in entries]
    image = (server.get("image") or {}).get("id")
    return server | {
        "addresses": addresses,
        PROJECT: server["tenant_id"],
        "image": image or "micro guest",
        "network": ", ".join(server.get("addresses", {})),
        "disk": human_bytes(server["cove:disk"]["size_bytes"]),
        "task": server["OS-EXT-STS:task_state"],
        "memory": f"{server['cove:memory_mb']} MiB",
        "fault": (server.get("fault") or {}).get("message"),
    }


def all_servers(client: Client) -> list[dict[str, Any]]:
    """The servers of all projects."""
    return list(client.get(f"{SERVERS}/detail", all_tenants=1)["servers"])


def find_server(client: Client, name_or_id: str) -> dict[str, Any]:
    """The server with that name or id; of several with that name, that of one's own project. Raises CoveError."""
    servers = all_servers(client)
    found = [server for server in servers if server["id"] == name_or_id]
    found = found or [server for server in servers if server["name"] == name_or_id]
    if len(found) > 1:
        own = {server["id"] for server in client.get(SERVERS)["servers"]}
        found = [server for server in found if server["id"] in own] or found
    if len(found) > 1:
        raise CoveError(f"{len(found)} servers are called {name_or_id!r}: give the id instead")
    if not found:
        raise CoveError(f"no server {name_or_id!r}: `cove server list` shows what there is")
    return dict(found[0])


def boot(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, and its host name.")],
    network: Annotated[str | None, typer.Option(metavar="N", help="Name or id of the network.")] = None,
    port: Annotated[
        str | None, typer.Option(metavar="P", help="Instead: name or id of a port, with what it says of addresses.")
    ] = None,
    security_group: Annotated[
        list[str] | None,
        typer.Option(metavar="G", help="Name or id of a security group. Repeat for more. Default: the project's."),
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="I", help="An imported image. Default: the micro guest.")] = None,
    disk: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Size of its disk. Default: 256M, or that of a larger image."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Size of its memory. Default: 128M, or 512M with an image."),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Boot a VM, and show the way of its address and disk."""
    memory_bytes = parse_size(memory) if memory is not None else None
    if memory_bytes is not None and memory_bytes % MIB:
        raise typer.BadParameter(f"{memory!r}: memory comes in whole MiB, such as 128M", param_hint="--memory")
    if (network is None) == (port is None):
        raise typer.BadParameter("give either --network or --port", param_hint="--network")
    with Client.open() as client:
        if network is not None:
            place = {"uuid": client.find("networks", network)["id"]}
        else:
            place = {"port": client.find("ports", port or "")["id"]}
        body: dict[str, Any] = {
            "name": name,
            "imageRef": image,
            "networks": [place],
            "cove:disk_bytes": parse_size(disk) if disk is not None else None,
            "cove:memory_mb": memory_bytes // MIB if memory_bytes is not None else None,
        }
        if security_group:
            body["security_groups"] = [{"name": group} for group in security_group]
        console.quiet = format is Format.JSON
        server = boot_server(client, body)
        if format is Format.JSON:
            print_json(server)


@app.command("list")
def list_(format: FormatOption = Format.TABLE) -> None:
    """List VMs, those of all projects."""
    with Client.open() as client:
        rows = all_servers(client)
        columns = COLUMNS if len({row["tenant_id"] for row in rows}) < 2 else (*COLUMNS, PROJECT)
        rows = rows if format is Format.JSON else [for_people(row) for row in rows]
        print_list(rows, columns, format, empty="no servers: `cove boot NAME --network N` boots one")


@app.command()
def show(server: ServerArgument, format: FormatOption = Format.TABLE) -> None:
    """Show a VM."""
    with Client.open() as client:
        found = find_server(client, server)
        if format is Format.JSON:
            print_json(found)
            return
        shown = for_people(found)
        shown["disk"] += " ({pool}/{name})".format(**found["cove:disk"])
        print_one(shown, format, keys=[key for key in SHOWN if key not in ONLY_IF_SET or shown.get(key)])


@app.command()
def delete(servers: Annotated[list[str], typer.Argument(metavar="NAME")]) -> None:
    """Delete VMs with their ports and disks."""
    with Client.open() as client:
        for server in servers:
            found = find_server(client, server)
            with console.status(f"deleting {found['name']}"):
                client.delete(f"{SERVERS}/{found['id']}")
                wait_for(
                    partial(_gone, client, found["id"]),
                    DELETE_TIMEOUT_S,
                    f"server {found['id']} is still there after {DELETE_TIMEOUT_S:.0f} s",
                )
            console.print(f"deleted server {found['name']}", markup=False)


def _gone(client: Client, server_id: str) -> bool | None:
    return None if any(server["id"] == server_id for server in all_servers(client)) else True


@app.command()
def start(server: ServerArgument) -> None:
    """Start a VM that is shut off, and show its boot."""
    with Client.open() as client:
        start_server(client, find_server(client, server))


@app.command()
def stop(server: ServerArgument) -> None:
    """Shut a VM down; its address and disk stay."""
    with Client.open() as client:
        found = find_server(client, server)
        client.post(f"{SERVERS}/{found['id']}/action", {"os-stop": None})
        with console.status(f"shutting {found['name']} down"):
            wait_for(
                partial(_shut_off, client, found["id"]),
                STOP_TIMEOUT_S,
                f"{found['name']} still runs after {STOP_TIMEOUT_S:.0f} s",
            )
        console.print(f"{found['name']} is shut off", markup=False)


def _shut_off(client: Client, server_id: str) -> bool | None:
    server = client.get(f"{SERVERS}/{server_id}")["server"]
    return None if server["OS-EXT-STS:task_state"] is not None or server["status"] == "ACTIVE" else True


def attach_console(
    server: ServerArgument,
    log: Annotated[bool, typer.Option("--log", help="Print what the console has shown so far, and leave.")] = False,
) -> None:
    """Attach to a VM's serial console; Ctrl-] leaves.

    One terminal at a time may be attached.
    """
    import asyncio

    from ..compute.console import attach

    quiet_logs()
    with Client.open() as client:
        found = find_server(client, server)
        if log:
            output = client.post(f"{SERVERS}/{found['id']}/action", {"os-getConsoleOutput": {}})["output"]
            sys.stdout.write(CONTROL_CHARACTERS.sub("", output))
            return
    path = found.get("cove:console_socket")
    if not path:
        raise CoveError(f"{found['name']} is {found['status']}: only a running VM has a console")
    errors.print(f"connected to {found['name']}; Ctrl-] leaves", markup=False)
    ended = asyncio.run(attach(Path(path), sys.stdin.fileno(), sys.stdout.fileno()))
    errors.print(f"\n{found['name']} has ended" if ended == "guest" else f"\nleft {found['name']}", markup=False)


def register(root: typer.Typer) -> None:
    """Add `boot` and `console` to the root."""
    root.command()(boot)
    root.command("console")(attach_console)
