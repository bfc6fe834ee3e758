"""`cove rados listomapkeys, listomapvals, getomapval, ...`: object maps, the keys and values that objects can have."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CoveError
from .output import Format, FormatOption, errors, print_list, printable, say
from .rados_options import Cluster, ObjectArgument, ObjectsArgument, run, with_cluster
from .rados_streams import STANDARD
from .rados_values import (
    FileArgument,
    InputFileOption,
    JsonArray,
    ValueArgument,
    row_of,
    show_value,
    value_of,
    write_line,
)

if TYPE_CHECKING:
    from ..rados import IoCtx


KeyArgument = Annotated[str | None, typer.Argument(metavar="KEY", help="The key; or give --omap-key-file.")]
KeyFileOption = Annotated[
    str | None,
    typer.Option("--omap-key-file", metavar="FILE", help="Take the key from this file: it may be any bytes."),
]
COLUMNS = ("key", "size", "value")


def key_of(key: str | None, file: str | None) -> str:
    """The key that a command was given. Raises typer.BadParameter, OSError."""
    if (key is None) == (file is None):
        raise typer.BadParameter("which key? give KEY or --omap-key-file")
    return os.fsdecode(Path(file).read_bytes()) if file is not None else str(key)


async def _list_keys(cluster: Cluster, oid: str, format: Format) -> None:
    array = JsonArray()
    async with cluster.open() as ioctx:
        start_after, more = "", True
        while more:
            keys, more = await ioctx.omap_get_keys(oid, start_after)
            for key in keys:
                if format is Format.JSON:
                    array.write(key)
                else:
                    write_line(key)
            more = more and bool(keys)
            start_after = keys[-1] if keys else ""
    if format is Format.JSON:
        array.close()
    sys.stdout.flush()


async def _list_values(cluster: Cluster, oid: str, prefix: str, format: Format) -> None:
    array = JsonArray()
    async with cluster.open() as ioctx:
        start_after, more, seen = "", True, False
        while more:
            values, more = await ioctx.omap_get_vals(oid, start_after, prefix)
            rows = [row_of("key", key, value, format) for key, value in values.items()]
            if format is Format.JSON:
                for row in rows:
                    array.write(row)
            elif rows:
                print_list(rows, COLUMNS, format, empty="")  # a table for each page: there may be millions
            seen = seen or bool(rows)
            more = more and bool(rows)
            start_after = next(reversed(values), "")
    if format is Format.JSON:
        array.close()
    elif not seen:
        errors.print(f"{printable(oid)} has no such keys", style="dim", markup=False)


async def _value(ioctx: IoCtx, oid: str, key: str) -> bytes:
    found = await ioctx.omap_get_vals_by_keys(oid, [key])
    if key not in found:
        raise CoveError(f"object {oid!r} has no key {key!r}: `cove rados listomapkeys` shows those it has")
    return found[key]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    @with_cluster
    def listomapkeys(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
        """List the keys of an object's map."""
        run(_list_keys(cluster, oid, format))

    @app.command()
    @with_cluster
    def listomapvals(
        cluster: Cluster,
        oid: ObjectArgument,
        prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only keys that begin so.")] = "",
        format: FormatOption = Format.TABLE,
    ) -> None:
        """List the keys of an object's map with their values."""
        run(_list_values(cluster, oid, prefix, format))

    @app.command()
    @with_cluster
    def getomapval(
        cluster: Cluster,
        oid: ObjectArgument,
        key: KeyArgument = None,
        file: FileArgument = STANDARD,
        key_file: KeyFileOption = None,
        format: FormatOption = Format.TABLE,
    ) -> None:
        """Show the value of a key."""
        if key_file is not None and key is not None:  # then the first is the file
            key, file = None, str(key)
        name = key_of(key, key_file)

        async def work() -> bytes:
            async with cluster.open() as ioctx:
                return await _value(ioctx, oid, name)

        show_value(run(work()), {"object": oid, "key": name}, file, format)

    @app.command()
    @with_cluster
    def setomapval(
        cluster: Cluster,
        oid: ObjectArgument,
        key: KeyArgument = None,
        value: ValueArgument = None,
        input_file: InputFileOption = None,
        key_file: KeyFileOption = None,
    ) -> None:
        """Set a key; the object is made if there is none."""
        if key_file is not None and key is not None:  # then the first is the value
            key, value = None, key
        name = key_of(key, key_file)
        data = value_of(value, input_file)

        async def work() -> None:
            async with cluster.open(writes=True) as ioctx:
                await ioctx.omap_set(oid, {name: data})

        run(work())
        say(f"set {name} of {oid}")

    @app.command()
    @with_cluster
    def rmomapkey(
        cluster: Cluster, oid: ObjectArgument, key: KeyArgument = None, key_file: KeyFileOption = None
    ) -> None:
        """Remove a key."""
        name = key_of(key, key_file)

        async def work() -> None:
            async with cluster.open(writes=True) as ioctx:
                await _value(ioctx, oid, name)  # one that is not there is no error to the cluster
                await ioctx.omap_rm_keys(oid, [name])

        run(work())
        say(f"removed {name} of {oid}")

    @app.command()
    @with_cluster
    def clearomap(cluster: Cluster, oids: ObjectsArgument) -> None:
        """Remove all keys and the header of the maps of objects."""

        async def work() -> None:
            from ..rados import WriteOp

            async with cluster.open(writes=True) as ioctx:
                for oid in oids:
                    await ioctx.operate(oid, WriteOp().assert_exists().omap_clear())
                    say(f"cleared the map of {oid}")

        run(work())

    @app.command()
    @with_cluster
    def getomapheader(
        cluster: Cluster, oid: ObjectArgument, file: FileArgument = STANDARD, format: FormatOption = Format.TABLE
    ) -> None:
        """Show the header of an object's map."""

        async def work() -> bytes:
            async with cluster.open() as ioctx:
                return await ioctx.omap_get_header(oid)

        show_value(run(work()), {"object": oid}, file, format)

    @app.command()
    @with_cluster
    def setomapheader(
        cluster: Cluster, oid: ObjectArgument, value: ValueArgument = None, input_file: InputFileOption = None
    ) -> None:
        """Set the header of an object's map; the object is made if there is none."""
        data = value_of(value, input_file)

        async def work() -> None:
            async with cluster.open(writes=True) as ioctx:
                await ioctx.omap_set_header(oid, data)

        run(work())
        say(f"set the header of {oid}")
