"""How commands print: tables for people, JSON for programs, errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 240
FOLDABLE = ("id", "network_id", "found", "remedy")
"""Columns that may be broken into lines on a narrow terminal; the others stay in one piece."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
errors = Console(stderr=True, highlight=False)


class Format(StrEnum):
    """Output formats."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="table for people, json for programs.")]


def cell(value: Any) -> Text:
    """A value as people read it. Never interpreted as markup: names come from users."""
    if value is None or value == "":
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, (list, tuple)):
        return Text("\n".join(str(item) for item in value) or "-")
    text = Text(str(value))
    if value in ("ACTIVE", "ok"):
        text.stylize("green")
    elif value in ("ERROR", "missing"):
        text.stylize("red")
    elif value in ("DOWN", "BUILD", "SHUTOFF", "warn"):
        text.stylize("yellow")
    return text


def print_json(value: Any) -> None:
    """JSON on stdout, stable and readable."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_list(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], format: Format, *, empty: str) -> None:
    """A table of `columns` (keys of the rows), or all of it as JSON; `empty` is said when there are none."""
    if format is Format.JSON:
        print_json(list(rows))
        return
    if not rows:
        errors.print(Text(empty, style="dim"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.replace("_", " "),
            overflow="fold",
            no_wrap=column not in FOLDABLE,
            min_width=18 if column in FOLDABLE else None,
        )
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    console.print(table)


def print_one(item: Mapping[str, Any], format: Format, *, keys: Iterable[str] | None = None) -> None:
    """One object, a line an attribute; or all of it as JSON."""
    if format is Format.JSON:
        print_json(dict(item))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key in keys or item:
        table.add_row(key, cell(item.get(key)))
    console.print(table)


def human_bytes(size: float) -> str:
    """1536 → `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if float(size).is_integer() else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.0f} TiB" if float(size).is_integer() else f"{size:.1f} TiB"


_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """`256M` → bytes. Raises typer.BadParameter that shows what is accepted."""
    raw = text.strip().upper().removesuffix("IB")
    if raw.endswith("B") and len(raw) > 1:
        raw = raw[:-1]
    unit = raw[-1:] if raw[-1:] in _UNITS and not raw[-1:].isdigit() else ""
    number = raw[: len(raw) - len(unit)]
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no size: give a number and K, M, G or T, such as 256M") from None
    if size <= 0:
        raise typer.BadParameter(f"{text!r} is not above zero")
    return size
