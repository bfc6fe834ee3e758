"""Values of attributes and keys, which may be any bytes: where they come from, and how they are shown.

Programs get them as they are (a pipe), or with `--format json` as text (null if it is none) and base64. People get
text, or a dump of the bytes: nothing that could steer a terminal.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Format, human_bytes, json_text, print_json, printable, say
from .rados_streams import STANDARD, writing

PREVIEW_CHARACTERS = 48
PREVIEW_BYTES = 16
DUMP_WIDTH = 16

ValueArgument = Annotated[
    str | None, typer.Argument(metavar="VALUE", help="What to set it to; - or nothing: standard input.")
]
InputFileOption = Annotated[
    str | None, typer.Option("--input-file", metavar="FILE", help="Take the value from this file instead.")
]
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; - is standard output.")]


def value_of(argument: str | None, file: str | None) -> bytes:
    """The value that a command was given. Raises typer.BadParameter, OSError."""
    if file is not None and argument is not None:
        raise typer.BadParameter("a value and --input-file: give one of them")
    if file is not None and file != STANDARD:
        return Path(file).read_bytes()
    if argument is None or argument == STANDARD:
        return sys.stdin.buffer.read()
    return os.fsencode(argument)


def plural(count: int, what: str) -> str:
    """`1 object`, `2 objects`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def as_text(value: bytes) -> str | None:
    """The value as text, None if it is none that can be shown."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\n\t" for char in text) else None


def preview(value: bytes) -> str:
    """The value in a column: text, or hexadecimal; cut where it is long."""
    text = as_text(value)
    if text is None:
        return f"0x{value[:PREVIEW_BYTES].hex()}" + ("…" if len(value) > PREVIEW_BYTES else "")
    line = text.replace("\n", "⏎").replace("\t", " ")
    return line if len(line) <= PREVIEW_CHARACTERS else line[: PREVIEW_CHARACTERS - 1] + "…"


def for_programs(value: bytes) -> dict[str, Any]:
    """The value as JSON can hold it."""
    return {"size_bytes": len(value), "value": as_text(value), "base64": base64.b64encode(value).decode()}


def row_of(what: str, name: str, value: bytes, format: Format) -> dict[str, Any]:
    """A line of a list of values."""
    if format is Format.JSON:
        return {what: name} | for_programs(value)
    return {what: name, "size": human_bytes(len(value)), "value": preview(value)}


class JsonArray:
    """An array that is written item by item: there may be millions."""

    def __init__(self) -> None:
        self._separator = "[\n"

    def write(self, item: Any) -> None:
        """The next one."""
        sys.stdout.write(f"{self._separator}  {json_text(item)}")
        self._separator = ",\n"

    def close(self) -> None:
        """That was all."""
        sys.stdout.write("[]\n" if self._separator == "[\n" else "\n]\n")
        sys.stdout.flush()


def write_line(*parts: str) -> None:
    """Names with tabs between; whole bytes for programs, nothing that could steer a terminal for people."""
    if sys.stdout.isatty():
        sys.stdout.write("\t".join(map(printable, parts)) + "\n")
    else:
        sys.stdout.buffer.write("\t".join(parts).encode("utf-8", "surrogateescape") + b"\n")


def hex_lines(data: bytes) -> Iterator[str]:
    """Bytes as `hexdump -C` shows them."""
    for offset in range(0, len(data), DUMP_WIDTH):
        line = data[offset : offset + DUMP_WIDTH]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{offset:08x}  {line.hex(' '):<{3 * DUMP_WIDTH}} |{text}|"


def show_value(value: bytes, what: dict[str, str], file: str, format: Format) -> None:
    """One value, to a file or standard output. Raises OSError."""
    if file != STANDARD:
        with writing(file):
            Path(file).write_bytes(value)
        say(f"wrote {human_bytes(len(value))} to {file}")
    elif format is Format.JSON:
        print_json(what | for_programs(value))
    elif not sys.stdout.isatty():
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
    else:
        text = as_text(value)
        lines = text.removesuffix("\n").split("\n") if text is not None else list(hex_lines(value))
        sys.stdout.write("".join(f"{line}\n" for line in lines))
