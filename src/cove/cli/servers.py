"""`cove boot`, `cove server list/show/start/stop/delete`, `cove console`."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import Settings
from ..errors import CoveError
from .boot import boot_server
from .client import Client
from .output import Format, FormatOption, console, human_bytes, parse_size, print_json, print_list, print_one

app = typer.Typer(help="Virtual machines.", no_args_is_help=True)
COLUMNS = ("name", "status", "addresses", "image", "disk", "memory", "id")
SERVERS = "/v2.1/servers"
DELETE_TIMEOUT_S = 60.0
CONTROL_CHARACTERS = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|.)|[^\n\t -~\u00a0-\U0010ffff]")
"""What a guest must not send to the terminal of somebody who only looks at its log."""
ServerArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.")]


def for_people(server: dict[str, Any]) -> dict[str, Any]:
    """Add short columns to a server in Nova's form."""
    addresses = [entry["addr"] for entries in server.get("addresses", {}).values() for entry in entries]
    image = server.get("image") or {}
    return server | {
        "addresses": addresses,
        "image": image.get("id", "") if isinstance(image, dict) else image,
        "disk": human_bytes(server["cove:disk"]["size_bytes"]),
        "memory": f"{server['cove:memory_mb']} MiB",
        "fault": (server.get("fault") or {}).get("message"),
    }


def find_server(client: Client, name_or_id: str) -> dict[str, Any]:
    """The server with that name or id. Raises CoveError."""
    servers = client.get(f"{SERVERS}/detail")["servers"]
    found = [server for server in servers if name_or_id in (server["id"], server["name"])]
    if not found:
        raise CoveError(f"no server {name_or_id!r}: `cove server list` shows what there is")
    return dict(found[0])


def boot(
    name: str,
    network: Annotated[str, typer.Option(help="Name or id of the network.")],
    image: Annotated[str | None, typer.Option(help="An imported image. Default: the micro guest.")] = None,
    disk: Annotated[str, typer.Option(help="Size of its disk.")] = "256M",
    memory: Annotated[str, typer.Option(help="Size of its memory.")] = "128M",
    format: FormatOption = Format.TABLE,
) -> None:
    """Boot a VM with an address and a disk of its own, and show their way."""
    disk_bytes, memory_bytes = parse_size(disk), parse_size(memory)
    with Client.open(Settings()) as client:
        body: dict[str, Any] = {
            "name": name,
            "imageRef": image,
            "networks": [{"uuid": client.find("networks", network)["id"]}],
            "cove:disk_bytes": disk_bytes,
            "cove:memory_mb": memory_bytes >> 20,
        }
        if format is Format.JSON:
            console.quiet = True
        server = boot_server(client, body)
        console.quiet = False
        if format is Format.JSON:
            print_json(server)


@app.command("list")
def list_(format: FormatOption = Format.TABLE) -> None:
    """List VMs."""
    with Client.open(Settings()) as client:
        rows = client.get(f"{SERVERS}/detail")["servers"]
        rows = rows if format is Format.JSON else [for_people(row) for row in rows]
        print_list(rows, COLUMNS, format, empty="no servers: `cove boot NAME --network N` boots one")


@app.command()
def show(server: ServerArgument, format: FormatOption = Format.TABLE) -> None:
    """Show a VM."""
    with Client.open(Settings()) as client:
        found = find_server(client, server)
        keys = None if format is Format.JSON else [*COLUMNS, "created", "cove:console_log", "fault"]
        print_one(found if format is Format.JSON else for_people(found), format, keys=keys)


@app.command()
def delete(servers: Annotated[list[str], typer.Argument(metavar="NAME...")]) -> None:
    """Delete VMs with their ports and disks."""
    with Client.open(Settings()) as client:
        for server in servers:
            found = find_server(client, server)
            with console.status(f"deleting {found['name']}"):
                client.delete(f"{SERVERS}/{found['id']}")
                _wait_until_gone(client, found["id"])
            console.print(f"deleted server {found['name']}", markup=False)


def _wait_until_gone(client: Client, server_id: str) -> None:
    deadline = time.monotonic() + DELETE_TIMEOUT_S
    while any(server["id"] == server_id for server in client.get(SERVERS)["servers"]):
        if time.monotonic() > deadline:
            raise CoveError(f"server {server_id} is still there after {DELETE_TIMEOUT_S:.0f} s")
        time.sleep(0.1)


def _act(server: str, action: str, done: str) -> None:
    with Client.open(Settings()) as client:
        found = find_server(client, server)
        client.post(f"{SERVERS}/{found['id']}/action", {action: None})
        console.print(f"{done} {found['name']}", markup=False)


@app.command()
def start(server: ServerArgument) -> None:
    """Start a VM that is shut off."""
    _act(server, "os-start", "starting")


@app.command()
def stop(server: ServerArgument) -> None:
    """Shut a VM down; its address and disk stay."""
    _act(server, "os-stop", "stopping")


def attach_console(
    server: ServerArgument,
    log: Annotated[bool, typer.Option("--log", help="Print what the console has shown so far, and leave.")] = False,
) -> None:
    """Attach to a VM's serial console; Ctrl-] leaves."""
    from ..compute.console import attach

    with Client.open(Settings()) as client:
        found = find_server(client, server)
        if log:
            output = client.post(f"{SERVERS}/{found['id']}/action", {"os-getConsoleOutput": {}})["output"]
            sys.stdout.write(CONTROL_CHARACTERS.sub("", output))
            return
    path = found.get("cove:console_socket")
    if not path:
        raise CoveError(f"{found['name']} is {found['status']}: only a running VM has a console")
    console.print(f"connected to {found['name']}; Ctrl-] leaves", markup=False)
    asyncio.run(attach(Path(path), sys.stdin.fileno(), sys.stdout.fileno()))


def register(root: typer.Typer) -> None:
    """Add `boot` and `console` to the root."""
    root.command()(boot)
    root.command("console")(attach_console)
