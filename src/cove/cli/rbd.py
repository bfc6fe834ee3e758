"""`cove rbd`: the images of the store: ls, info, create, rm, export-nbd."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import CoveError
from .client import Client, segment
from .output import Format, FormatOption, console, errors, human_bytes, parse_size, print_list, print_one

app = typer.Typer(help="RBD images in the store.", no_args_is_help=True)
COLUMNS = ("pool", "name", "size", "objects", "id")


def split_spec(spec: str) -> tuple[str, str]:
    """`POOL/IMAGE` → both parts; the pool is `rbd` where only an image is given. Raises typer.BadParameter."""
    pool, slash, image = spec.partition("/")
    if not slash:
        pool, image = "rbd", spec
    if not pool or not image or "/" in image or "@" in image:
        raise typer.BadParameter(f"{spec!r} is no POOL/IMAGE, such as rbd/vm1-disk")
    return pool, image


def image_path(spec: str) -> str:
    """The API's path of an image."""
    pool, image = split_spec(spec)
    return f"/cove/v1/pools/{segment(pool)}/images/{segment(image)}"


def for_people(image: dict[str, Any]) -> dict[str, Any]:
    """Add the size in units."""
    return image | {"size": human_bytes(image["size_bytes"])}


@app.command()
def ls(
    pool: Annotated[str | None, typer.Argument(metavar="POOL", help="Default: all pools.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List images."""
    with Client.open() as client:
        pools = [pool] if pool else client.get("/cove/v1/pools")["pools"]
        rows = [image for name in pools for image in client.get(f"/cove/v1/pools/{segment(name)}/images")["images"]]
        rows = rows if format is Format.JSON else [for_people(row) for row in rows]
        print_list(rows, COLUMNS, format, empty="no images: `cove rbd create POOL/IMAGE --size 1G` makes one")


@app.command()
def info(spec: Annotated[str, typer.Argument(metavar="POOL/IMAGE")], format: FormatOption = Format.TABLE) -> None:
    """Show an image."""
    with Client.open() as client:
        image = client.get(image_path(spec))["image"]
        print_one(image if format is Format.JSON else for_people(image), format)


@app.command()
def create(
    spec: Annotated[str, typer.Argument(metavar="POOL/IMAGE")],
    size: Annotated[str, typer.Option(metavar="S", help="Such as 256M.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Create an empty image."""
    with Client.open() as client:
        image = client.post(image_path(spec), {"size_bytes": parse_size(size)})["image"]
        print_one(image if format is Format.JSON else for_people(image), format)


@app.command()
def rm(specs: Annotated[list[str], typer.Argument(metavar="POOL/IMAGE")]) -> None:
    """Remove images and their data."""
    with Client.open() as client:
        for spec in specs:
            client.delete(image_path(spec))
            console.print(f"removed {'/'.join(split_spec(spec))}", markup=False)


@app.command("export-nbd")
def export_nbd(
    spec: Annotated[str, typer.Argument(metavar="POOL/IMAGE")],
    socket: Annotated[Path | None, typer.Option(metavar="PATH", help="Serve on this unix socket.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="N", help="Serve on this TCP port of 127.0.0.1 (0: any free one).")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse writes; several clients may connect.")] = False,
) -> None:
    """Serve an image by NBD until this command is interrupted."""
    if (socket is None) == (port is None):
        raise typer.BadParameter("give either --socket PATH or --port N")
    body: dict[str, Any] = {"read_only": read_only}
    body |= {"socket": str(socket.absolute())} if socket else {"port": port}
    with Client.open() as client, client.stream(f"{image_path(spec)}/exports", body) as events:
        try:
            for event in events:
                if "error" in event:
                    raise CoveError(f"the export of {'/'.join(split_spec(spec))} has ended: {event['error']}")
                if "uri" in event:
                    console.print(f"{event['uri']}  (Ctrl-C ends the export)", markup=False, soft_wrap=True)
        except KeyboardInterrupt:  # its usual end
            errors.print("\nthe export has ended")
