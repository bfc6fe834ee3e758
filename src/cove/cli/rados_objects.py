"""`cove rados stat, put, get, append, truncate, touch, create, cp, rm, ...`: single objects and their data."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ..errors import CoveError
from .output import (
    Format,
    FormatOption,
    errors,
    human_bytes,
    print_json,
    print_list,
    print_one,
    printable_lines,
    say,
)
from .rados_options import Cluster, ObjectArgument, ObjectsArgument, open_pool, run, with_cluster
from .rados_streams import STANDARD, source_of
from .rados_transfer import Meter, append, get, put

if TYPE_CHECKING:
    from ..rados import IoCtx

FileToRead = Annotated[str, typer.Argument(metavar="FILE", help="What to read; - is standard input.")]
NS_PER_S = 1_000_000_000


def identity(ioctx: IoCtx, oid: str) -> dict[str, str]:
    """What makes an object this one and no other."""
    found = {"object": oid, "pool": ioctx.pool_name, "namespace": ioctx.namespace, "locator": ioctx.locator_key}
    return {key: value for key, value in found.items() if value or key in ("object", "pool")}


async def found_stat(cluster: Cluster, oid: str) -> tuple[dict[str, Any], int]:
    """Identity and size; time of modification in nanoseconds."""
    async with cluster.open() as ioctx:
        found = await ioctx.stat(oid)
        return identity(ioctx, oid) | {"size_bytes": found.size}, found.mtime_ns


def show_stat(found: dict[str, Any], mtime_ns: int, digits: int, format: Format) -> None:
    """Size, and the time of modification with so many digits after the second."""
    seconds, rest = divmod(mtime_ns, NS_PER_S)
    fraction = f"{rest:09}"[:digits]
    if format is Format.JSON:
        moment = datetime.fromtimestamp(seconds, UTC)
        print_json(found | {"modified": f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}+00:00"})
        return
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    size = human_bytes(found.pop("size_bytes"))
    print_one(found | {"size": size, "modified": f"{moment:%Y-%m-%d %H:%M:%S}.{fraction}{moment:%z}"}, format)


def timestamp_ns(text: str) -> int:
    """Seconds since the epoch, or a date and time (ISO 8601; local if it has no zone). Raises typer.BadParameter."""
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} is no time: give seconds since 1970, or such as 2024-02-29T12:00") from None
    if not 0 <= seconds < 1 << 32:
        raise typer.BadParameter(f"{text!r}: there is room for times from 1970 to 2106")
    return round(seconds * NS_PER_S)


async def remove_all(cluster: Cluster, oids: list[str], force_full: bool) -> int:
    """How many could not be removed."""
    from ..rados import Error, NotConnected, RequestFlag, WriteOp

    failed = 0
    async with cluster.open(writes=True) as ioctx:
        for oid in oids:
            op = WriteOp().remove()
            if force_full:
                op.with_flags(RequestFlag.FULL_FORCE)
            try:
                await ioctx.operate(oid, op)
            except NotConnected:
                raise
            except Error as error:
                failed += 1
                errors.print(Text.assemble(("error:", "bold red"), " ", "\n".join(printable_lines([str(error)]))))
            else:
                say(f"removed {oid}")
    return failed


async def copy(cluster: Cluster, oid: str, target: str, locator: str | None, nspace: str | None, pool: str) -> int:
    """Copy an object with attributes and omap; its bytes. Raises typer.BadParameter, CoveError, rados errors."""
    from ..rados.dump import Existing, ObjectBegin, Written, read_object, write_object

    async with cluster.open() as ioctx:
        begin = ObjectBegin(oid, ioctx.namespace, ioctx.locator_key)
        to = ObjectBegin(
            target, ioctx.namespace if nspace is None else nspace, ioctx.locator_key if locator is None else locator
        )
        if begin == to and (not pool or pool == ioctx.pool_name) and cluster.snap is None and cluster.snapid is None:
            raise typer.BadParameter(f"{oid} can't be copied onto itself: give TARGET, or --target-pool or the like")
        contents = await read_object(ioctx, begin)
        contents.begin = to
        try:
            async with await open_pool(ioctx.cluster, pool or ioctx.pool_name) as writing:
                written = await write_object(writing, contents, Existing.REPLACE)
        finally:
            contents.close()
        if written is Written.WITHOUT_OMAP:
            raise CoveError(f"{target} has no omap: the pool is erasure-coded; all else was copied")
        return contents.size


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    @with_cluster
    def stat(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
        """Show an object's size and time of modification."""
        show_stat(*run(found_stat(cluster, oid)), 3, format)

    @app.command()
    @with_cluster
    def stat2(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
        """The same with all digits of the time."""
        show_stat(*run(found_stat(cluster, oid)), 9, format)

    @app.command("put")
    @with_cluster
    def put_(
        cluster: Cluster,
        oid: ObjectArgument,
        file: FileToRead,
        offset: Annotated[
            int | None, typer.Option("--offset", metavar="BYTES", min=0, help="Write from here on, and keep the rest.")
        ] = None,
    ) -> None:
        """Write a file into an object, which it replaces."""

        async def work() -> int:
            async with cluster.open(writes=True) as ioctx:
                with source_of(file) as (source, size), Meter(f"putting {oid}", size) as meter:
                    return await put(ioctx, oid, source, meter, offset)

        if file != STANDARD and os.path.isdir(file):
            raise CoveError(f"{file} is a directory: put its files one by one")
        say(f"put {oid} {human_bytes(run(work()))}")

    @app.command("append")
    @with_cluster
    def append_(cluster: Cluster, oid: ObjectArgument, file: FileToRead) -> None:
        """Write a file at the end of an object, which is made if there is none."""

        async def work() -> int:
            async with cluster.open(writes=True) as ioctx:
                with source_of(file) as (source, size), Meter(f"appending to {oid}", size) as meter:
                    return await append(ioctx, oid, source, meter)

        if file != STANDARD and os.path.isdir(file):
            raise CoveError(f"{file} is a directory: append its files one by one")
        say(f"appended {human_bytes(run(work()))} to {oid}")

    @app.command("get")
    @with_cluster
    def get_(
        cluster: Cluster,
        oid: ObjectArgument,
        file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write; - is standard output.")],
    ) -> None:
        """Write an object into a file."""

        async def work() -> int:
            async with cluster.open() as ioctx:
                with Meter(f"getting {oid}", None) as meter:
                    return await get(ioctx, oid, file, meter)

        size = run(work())
        if file != STANDARD:
            say(f"got {oid} {human_bytes(size)}")

    @app.command()
    @with_cluster
    def truncate(
        cluster: Cluster,
        oid: ObjectArgument,
        length: Annotated[int, typer.Argument(metavar="BYTES", min=0, help="What is to remain, or to be reached.")],
    ) -> None:
        """Cut an object, or extend it with zeros."""

        async def work() -> None:
            from ..rados import WriteOp

            async with cluster.open(writes=True) as ioctx:
                await ioctx.operate(oid, WriteOp().assert_exists().truncate(length))

        run(work())
        say(f"truncated {oid} to {human_bytes(length)}")

    @app.command()
    @with_cluster
    def touch(
        cluster: Cluster,
        oid: ObjectArgument,
        timestamp: Annotated[
            str | None, typer.Argument(metavar="TIME", help="Seconds since 1970, or a date and time; default: now.")
        ] = None,
    ) -> None:
        """Set an object's time of modification; the object is made if there is none."""
        moment = None if timestamp is None else timestamp_ns(timestamp)

        async def work() -> None:
            from ..rados import WriteOp

            op = WriteOp().create()
            async with cluster.open(writes=True) as ioctx:
                await ioctx.operate(oid, op if moment is None else op.set_mtime(moment))

        run(work())
        say(f"touched {oid}")

    @app.command()
    @with_cluster
    def create(cluster: Cluster, oid: ObjectArgument) -> None:
        """Make an empty object; one that is there is an error."""

        async def work() -> None:
            from ..rados import ObjectExists, WriteOp

            async with cluster.open(writes=True) as ioctx:
                try:
                    await ioctx.operate(oid, WriteOp().create(exclusive=True))
                except ObjectExists:
                    raise CoveError(f"object {oid!r} is there already: choose another name, or `touch` it") from None

        run(work())
        say(f"created {oid}")

    @app.command()
    @with_cluster
    def cp(
        cluster: Cluster,
        oid: ObjectArgument,
        target: Annotated[str | None, typer.Argument(metavar="TARGET", help="The copy's name; default: OBJ.")] = None,
        target_locator: Annotated[
            str | None, typer.Option("--target-locator", metavar="KEY", help="The key that places the copy.")
        ] = None,
        target_nspace: Annotated[
            str | None, typer.Option("--target-nspace", metavar="NAME", help="The namespace of the copy.")
        ] = None,
        target_pool: Annotated[str, typer.Option("--target-pool", metavar="POOL", help="The pool of the copy.")] = "",
    ) -> None:
        """Copy an object with attributes and omap; what is at the target is replaced."""
        name = target or oid
        size = run(copy(cluster, oid, name, target_locator, target_nspace, target_pool))
        say(f"copied {oid} to {name} {human_bytes(size)}")

    @app.command()
    @with_cluster
    def rm(
        cluster: Cluster,
        oids: ObjectsArgument,
        force_full: Annotated[bool, typer.Option("--force-full", help="Even if the cluster is full.")] = False,
    ) -> None:
        """Remove objects; those that can't be removed don't keep the others."""
        if run(remove_all(cluster, oids, force_full)):
            raise typer.Exit(1)

    @app.command()
    @with_cluster
    def mapext(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
        """Show which ranges of an object hold data."""

        async def work() -> list[tuple[int, int]]:
            from ..rados import ReadOp

            async with cluster.open() as ioctx:
                size = (await ioctx.stat(oid)).size
                extents: list[tuple[int, int]] = (await ioctx.operate(oid, ReadOp().mapext(size))).value(0)
                return extents if size else []

        rows = [{"offset": offset, "length": length} for offset, length in run(work())]
        print_list(rows, ("offset", "length"), format, empty=f"{oid} holds no data")

    @app.command("set-alloc-hint")
    @with_cluster
    def set_alloc_hint(
        cluster: Cluster,
        oid: ObjectArgument,
        object_size: Annotated[int, typer.Argument(metavar="OBJECT_BYTES", min=0, help="How large it will be.")],
        write_size: Annotated[int, typer.Argument(metavar="WRITE_BYTES", min=0, help="How large writes will be.")],
    ) -> None:
        """Tell the cluster what sizes to expect of an object, which is made if there is none."""

        async def work() -> None:
            from ..rados import WriteOp

            async with cluster.open(writes=True) as ioctx:
                await ioctx.operate(oid, WriteOp().set_alloc_hint(object_size, write_size))

        run(work())
        say(f"set the hint of {oid}")
