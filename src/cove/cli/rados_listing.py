"""`cove rados ls`: the objects of a pool, as they come: there may be millions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from .output import Format, FormatOption, errors
from .rados_options import Cluster, run, with_cluster
from .rados_values import JsonArray, write_line

SLICES_MAX = 1 << 20
PAGE = 1024

if TYPE_CHECKING:
    from ..rados import ListedObject, ObjectCursor


def entry_of(entry: ListedObject) -> dict[str, str]:
    """An object of a listing for programs."""
    return {"name": entry.name, "namespace": entry.nspace, "locator": entry.locator_key}


def slice_of(text: str) -> tuple[int, int]:
    """`2/8` → the second of eight parts, counted from 0. Raises typer.BadParameter."""
    part, slash, parts = text.partition("/")
    if not slash or not part.isdecimal() or not parts.isdecimal() or not 1 <= int(part) <= int(parts) <= SLICES_MAX:
        raise typer.BadParameter(f"{text!r} is no slice, such as 2/8: the second of eight")
    return int(part) - 1, int(parts)


class Window(NamedTuple):
    """Which part of the listing; None where it is not restricted."""

    start: str | None
    part: tuple[int, int] | None
    limit: int | None


def cursor_of(text: str) -> ObjectCursor:
    """A cursor that an earlier listing told. Raises typer.BadParameter."""
    from ..rados import ObjectCursor, UsageError

    try:
        return ObjectCursor.parse(text)
    except UsageError as problem:
        raise typer.BadParameter(str(problem)) from None


async def _list(cluster: Cluster, everywhere: bool, window: Window, format: Format) -> None:
    from ..rados import ALL_NAMESPACES

    array = JsonArray()
    async with cluster.open() as ioctx:
        begin, end = (None, None) if window.part is None else ioctx.object_list_slice(*window.part)
        if window.start is not None:
            begin = cursor_of(window.start)
        listing = ioctx.list_objects(ALL_NAMESPACES if everywhere else None, start=begin, end=end)
        left = window.limit
        while left is None or left > 0:
            page = await listing.page(PAGE if left is None else min(PAGE, left))
            for entry in page:
                if format is Format.JSON:
                    array.write(entry_of(entry))
                elif everywhere:
                    write_line(entry.nspace, entry.name, entry.locator_key)
                else:
                    write_line(entry.name)
            if not page:
                break
            left = None if left is None else left - len(page)
        if format is Format.JSON:
            array.close()
        sys.stdout.flush()
        if left == 0 and not listing.cursor.is_end:
            errors.print(f"more: --start '{listing.cursor}'", style="dim", markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    @with_cluster
    def ls(
        cluster: Cluster,
        everywhere: Annotated[
            bool, typer.Option("--all", help="Of all namespaces: namespace, name and locator, with tabs between.")
        ] = False,
        limit: Annotated[
            int | None, typer.Option("--limit", metavar="N", min=1, help="So many; stderr tells how to go on.")
        ] = None,
        start: Annotated[
            str | None, typer.Option("--start", metavar="CURSOR", help="Go on where --limit ended a listing.")
        ] = None,
        part: Annotated[
            str | None, typer.Option("--slice", metavar="I/N", help="Only this part: N can be listed side by side.")
        ] = None,
        format: FormatOption = Format.TABLE,
    ) -> None:
        """List objects, in the order of their placement."""
        window = Window(start, None if part is None else slice_of(part), limit)
        run(_list(cluster, everywhere, window, format))
