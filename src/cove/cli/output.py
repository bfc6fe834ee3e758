"""How commands print: tables for people, JSON for programs, errors on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 240
MEASURED_WIDTH = 10_000
LABEL_WIDTH = 7
FOLDED_WIDTH = 18  # half a UUID, which then breaks at a dash
FOLDABLE = ("id", "found", "remedy")
"""Columns that may be broken into lines on a narrow terminal; the others stay in one piece."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
errors = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str, label: str = "") -> None:
    """A line on stdout, perhaps with a label before it; on a terminal that is too narrow for it, a tidy paragraph."""
    text = printable(text)
    if not console.is_terminal:
        console.print(f"{label:<{LABEL_WIDTH}} {text}" if label else text, markup=False, soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    if label:
        grid.add_column(min_width=LABEL_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(*([Text(label, style="bold")] if label else []), Text(text))
    console.print(grid)


def quiet_logs() -> None:
    """Keep what the server's parts log out of a command's output; for those few commands that use such parts."""
    import logging

    logging.getLogger("cove").setLevel(logging.ERROR)


class Format(StrEnum):
    """Output formats."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="table for people, json for programs.")]


def printable(text: str) -> str:
    """The text without what could steer a terminal: names come from users."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def printable_lines(texts: Iterable[str]) -> list[str]:
    """The same for texts of several lines each."""
    return [printable(line) for text in texts for line in text.splitlines()]


def cell(value: Any) -> Text:
    """A value as people read it. Never interpreted as markup: names come from users."""
    if value is None or value == "":
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, (list, tuple)):
        return Text("\n".join(printable(str(item)) for item in value) or "-")
    if isinstance(value, dict):
        return Text(printable(json.dumps(value, ensure_ascii=False)))
    text = Text(printable(str(value)))
    if value in ("ACTIVE", "ok"):
        text.stylize("green")
    elif value in ("ERROR", "missing"):
        text.stylize("red")
    elif value in ("DOWN", "BUILD", "SHUTOFF", "warn"):
        text.stylize("yellow")
    return text


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON. What is no text in a name (bytes that are not UTF-8) is escaped, as `\\udcff`: there is no other way."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_json(value: Any) -> None:
    """JSON on stdout, stable and readable."""
    typer.echo(json_text(value, indent=2))


def print_list(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], format: Format, *, empty: str) -> None:
    """A table of `columns` (keys of the rows), or all of it as JSON; `empty` is said when there are none."""
    if format is Format.JSON:
        print_json(list(rows))
        return
    if not rows:
        errors.print(Text(empty, style="dim"))
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        folds = column in FOLDABLE
        lines = [line for row in rows for line in cell(row.get(column)).plain.splitlines()]
        width = max(map(cell_len, lines), default=0)
        width = min(FOLDED_WIDTH, width) if folds else max(width, cell_len(column))
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=not folds, min_width=width)
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    needs = Measurement.get(console, console.options.update(width=MEASURED_WIDTH), table)
    if needs.maximum > console.width:
        for drawn in table.columns:
            drawn.max_width = FOLDED_WIDTH if drawn.header == "id" else None
    if needs.minimum <= console.width:
        console.print(table)
        return
    # lines that the terminal breaks are better than characters that are missing
    wide = Console(
        file=console.file, width=needs.minimum, force_terminal=console.is_terminal, no_color=console.no_color
    )
    wide.print(table)


def print_one(item: Mapping[str, Any], format: Format, *, keys: Iterable[str] | None = None) -> None:
    """One object, a line an attribute; or all of it as JSON."""
    if format is Format.JSON:
        print_json(dict(item))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key in keys or item:
        table.add_row(key.removeprefix("cove:").replace("_", " "), cell(item.get(key)))
    console.print(table)


def human_bytes(size: float) -> str:
    """1536 → `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if float(size).is_integer() else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.0f} TiB" if float(size).is_integer() else f"{size:.1f} TiB"


SIZE_MAX = 1 << 62
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([KMGT])(?:I?B|I)?|B)?", re.ASCII)
_EXPONENTS = {"K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str) -> int:
    """`256M` → bytes. Raises typer.BadParameter that shows what is accepted."""
    found = _SIZE.fullmatch(text.strip().upper())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size: give a number and K, M, G or T, such as 256M")
    size = Fraction(found[1]) * 1024 ** _EXPONENTS.get(found[2], 0)
    if size.denominator != 1 or not 0 < size <= SIZE_MAX:
        raise typer.BadParameter(f"{text!r} is no size: a whole number of bytes above 0 is wanted, such as 256M")
    return int(size)
