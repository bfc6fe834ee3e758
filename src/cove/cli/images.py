"""`cove image import/list/delete`: disk images of users, kept as RBD images in the pool `images`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ..errors import CoveError
from .client import Client, segment
from .output import Format, FormatOption, console, human_bytes, print_list, say
from .rbd import for_people

app = typer.Typer(help="Disk images to boot from.", no_args_is_help=True)
IMAGES = "/cove/v1/pools/images/images"
FORMATS = ("raw", "qcow2")
CONVERT_END_TIMEOUT_S = 60.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def path_of(file: Path) -> str:
    """The file as qemu-img takes it for one: not for an option, nor for `nbd:…` or `json:…`."""
    return str(file.absolute())


def inspect(file: Path, format: str | None) -> dict[str, Any]:
    """What qemu-img says of an image file. Raises CoveError for what must not be imported.

    A file that names other files (a backing or data file) could pull in any file of this machine: it is refused.
    """
    command = ["qemu-img", "info", "--output=json", *(["-f", format] if format else []), path_of(file)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise CoveError("qemu-img is missing: apt-get install qemu-utils") from None
    if result.returncode != 0:
        raise CoveError(f"qemu-img can't read {file}: {result.stderr.strip()}")
    found: dict[str, Any] = json.loads(result.stdout)
    if found["format"] not in FORMATS:
        raise CoveError(f"{file} is {found['format']}: convert it to one of {', '.join(FORMATS)} first")
    specific = found.get("format-specific", {}).get("data", {})
    if "backing-filename" in found or specific.get("data-file"):
        raise CoveError(f"{file} refers to another file: flatten it first (qemu-img convert)")
    if specific.get("encrypt"):
        raise CoveError(f"{file} is encrypted: decrypt it first (qemu-img convert)")
    return found


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)],
    name: Annotated[str | None, typer.Option(metavar="N", help="Default: the file's name without its suffix.")] = None,
    source_format: Annotated[str | None, typer.Option(metavar="raw|qcow2", help="Default: look into the file.")] = None,
) -> None:
    """Import a raw or qcow2 disk image."""
    if source_format is not None and source_format not in FORMATS:
        raise typer.BadParameter(f"{source_format!r}: one of {', '.join(FORMATS)}")
    image = name or file.stem
    if not NAME.fullmatch(image):
        raise typer.BadParameter(
            f"{image!r} is no image name: at most 96 letters, digits, dots and dashes; choose one with --name"
        )
    found = inspect(file, source_format)
    size_bytes = -(-found["virtual-size"] // 512) * 512
    if not size_bytes:
        raise CoveError(f"{file} is empty: there is no disk in it")
    path = f"{IMAGES}/{segment(image)}"
    # The server keeps the image only if it is told so; whatever happens before that, it removes it.
    with (
        Client.open() as client,
        client.stream(f"{path}/import", {"size_bytes": size_bytes}) as events,
    ):
        try:
            _convert(file, found["format"], next(event["uri"] for event in events if "uri" in event), image)
            client.put(f"{path}/import")
        except BaseException:
            with contextlib.suppress(CoveError):
                client.delete(f"{path}/import")
            raise
    hint = f"`cove boot NAME --network N --image {image}` boots from it"
    say(f"imported images/{image} {human_bytes(size_bytes)}: {hint}")


def _convert(file: Path, source_format: str, uri: str, image: str) -> None:
    """Copy the file's data into the export, with a progress bar."""
    command = ["qemu-img", "convert", "-p", "-n", "-f", source_format, "-O", "raw", path_of(file), uri]
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        tempfile.TemporaryFile() as problems,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=problems) as converter,
    ):
        try:
            task = progress.add_task(f"importing {image}", total=100.0)
            assert converter.stdout is not None
            text = b""
            while chunk := os.read(converter.stdout.fileno(), 4096):
                text = (text + chunk)[-64:]
                percents = re.findall(rb"\((\d+\.\d+)/100%\)", text)
                if percents:
                    progress.update(task, completed=float(percents[-1]))
            converter.wait(CONVERT_END_TIMEOUT_S)
        except BaseException:
            converter.kill()
            raise
        if converter.returncode != 0:
            problems.seek(0)
            words = " ".join(problems.read(4096).decode(errors="replace").split())
            raise CoveError(f"qemu-img could not copy {file}: {words}")


@app.command("list")
def list_(format: FormatOption = Format.TABLE) -> None:
    """List imported images."""
    with Client.open() as client:
        rows = client.get(IMAGES)["images"]
        rows = rows if format is Format.JSON else [for_people(row) for row in rows]
        print_list(
            rows, ("name", "size", "status", "id"), format, empty="no images: `cove image import FILE` brings one"
        )


@app.command()
def delete(images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Names.")]) -> None:
    """Delete imported images."""
    with Client.open() as client:
        for image in images:
            client.delete(f"{IMAGES}/{segment(image)}")
            console.print(f"deleted image {image}", markup=False)
