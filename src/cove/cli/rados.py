"""`cove rados`: objects and pools of a Ceph cluster: lspools, ls, stat, put, get, rm, df; bench and trace.

It needs no server: it is a client of the cluster that ceph.conf names.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ..errors import CoveError
from . import rados_bench, rados_trace
from .output import (
    Format,
    FormatOption,
    errors,
    human_bytes,
    print_json,
    print_list,
    print_one,
    printable,
    printable_lines,
    say,
)
from .rados_options import Cluster, run, with_cluster
from .rados_transfer import STANDARD, Meter, get, put, source_of

if TYPE_CHECKING:
    from ..rados import IoCtx, ListedObject, Rados

app = typer.Typer(help="Objects and pools of a Ceph cluster.", no_args_is_help=True)
ObjectArgument = Annotated[str, typer.Argument(metavar="OBJ", help="The object's name.")]
DF_COLUMNS = ("pool", "used", "objects", "degraded", "unfound", "reads", "read", "writes", "written")


@app.callback()
@with_cluster
def rados(cluster: Cluster) -> None:
    """Objects and pools of a Ceph cluster."""


# the cluster


@app.command()
@with_cluster
def lspools(cluster: Cluster, format: FormatOption = Format.TABLE) -> None:
    """List pools."""

    async def work() -> list[dict[str, Any]]:
        async with cluster.connect() as rados:
            return pool_rows(rados)

    columns = ("pool", "id", "type", "size", "pgs", "applications")
    print_list(run(work()), columns, format, empty="no pools: `ceph osd pool create NAME` makes one")


def pool_rows(rados: Rados) -> list[dict[str, Any]]:
    """The pools as the OSD map has them."""
    osdmap = rados.osdmap
    return [
        {
            "pool": osdmap.pool_names[number],
            "id": number,
            "type": "erasure" if pool.is_erasure else "replicated",
            "size": pool.size,
            "pgs": pool.pg_num,
            "applications": sorted(pool.application_metadata),
        }
        for number, pool in sorted(osdmap.pools.items())
    ]


@app.command()
@with_cluster
def df(cluster: Cluster, format: FormatOption = Format.TABLE) -> None:
    """Show how full the pools and the cluster are."""

    async def work() -> dict[str, Any]:
        async with cluster.connect() as rados:
            return await usage(rados, cluster.pool)

    found = run(work())
    if format is Format.JSON:
        print_json(found)
        return
    rows = [
        row
        | {"used": human_bytes(row["used_bytes"])}
        | {"read": human_bytes(row["read_bytes"]), "written": human_bytes(row["written_bytes"])}
        for row in found["pools"]
    ]
    print_list(rows, DF_COLUMNS, format, empty="no pools")
    sizes = [human_bytes(found[key]) for key in ("used_bytes", "available_bytes", "total_bytes")]
    say(f"{found['objects']} objects · {sizes[0]} used · {sizes[1]} free of {sizes[2]}", "cluster")


async def usage(rados: Rados, pool: str | None) -> dict[str, Any]:
    """Space and counters of the cluster and its pools (or of the one named)."""
    stat = await rados.cluster_stat()
    pools = await rados.pool_stats([pool] if pool else None)
    return {
        "pools": [
            {
                "pool": name,
                "id": rados.osdmap.pool_id(name),
                "used_bytes": pools[name].bytes_used,
                "stored_bytes": pools[name].num_bytes,
                "objects": pools[name].num_objects,
                "clones": pools[name].num_object_clones,
                "copies": pools[name].num_object_copies,
                "degraded": pools[name].num_objects_degraded,
                "unfound": pools[name].num_objects_unfound,
                "reads": pools[name].num_rd,
                "read_bytes": pools[name].num_rd_kb * 1024,
                "writes": pools[name].num_wr,
                "written_bytes": pools[name].num_wr_kb * 1024,
            }
            for name in rados.pool_list()
            if name in pools
        ],
        "objects": stat.num_objects,
        "used_bytes": stat.kb_used * 1024,
        "available_bytes": stat.kb_avail * 1024,
        "total_bytes": stat.kb * 1024,
    }


# objects


@app.command()
@with_cluster
def ls(
    cluster: Cluster,
    everywhere: Annotated[
        bool, typer.Option("--all", help="Of all namespaces: namespace, name and locator, with tabs between.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """List objects, in the order of their placement."""
    run(_list(cluster, everywhere, format))


async def _list(cluster: Cluster, everywhere: bool, format: Format) -> None:
    from ..rados import ALL_NAMESPACES

    async with cluster.open() as ioctx:
        separator = "[\n"
        async for entry in ioctx.list_objects(ALL_NAMESPACES if everywhere else None):
            if format is Format.JSON:
                sys.stdout.write(separator + "  " + json.dumps(entry_of(entry)))
                separator = ",\n"
            else:
                _write_name(entry, everywhere)
        if format is Format.JSON:
            sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")
        sys.stdout.flush()


def entry_of(entry: ListedObject) -> dict[str, str]:
    """An object of a listing for programs."""
    return {"name": entry.name, "namespace": entry.nspace, "locator": entry.locator_key}


def _write_name(entry: ListedObject, everywhere: bool) -> None:
    """A line; whole bytes for programs, nothing that could steer a terminal for people."""
    parts = [entry.nspace, entry.name, entry.locator_key] if everywhere else [entry.name]
    if sys.stdout.isatty():
        sys.stdout.write("\t".join(map(printable, parts)) + "\n")
    else:
        sys.stdout.buffer.write("\t".join(parts).encode("utf-8", "surrogateescape") + b"\n")


@app.command()
@with_cluster
def stat(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
    """Show an object's size and time of modification."""

    async def work() -> dict[str, Any]:
        async with cluster.open() as ioctx:
            found = await ioctx.stat(oid)
            modified = datetime.fromtimestamp(found.mtime, UTC)
            return identity(ioctx, oid) | {"size_bytes": found.size, "modified": modified.isoformat()}

    found = run(work())
    if format is Format.JSON:
        print_json(found)
        return
    modified = datetime.fromisoformat(found.pop("modified")).astimezone()
    size = human_bytes(found.pop("size_bytes"))
    print_one(found | {"size": size, "modified": modified.isoformat(sep=" ", timespec="milliseconds")}, format)


def identity(ioctx: IoCtx, oid: str) -> dict[str, str]:
    """What makes an object this one and no other."""
    found = {"object": oid, "pool": ioctx.pool_name, "namespace": ioctx.namespace, "locator": ioctx.locator_key}
    return {key: value for key, value in found.items() if value or key in ("object", "pool")}


@app.command("put")
@with_cluster
def put_(
    cluster: Cluster,
    oid: ObjectArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to read; - is standard input.")],
) -> None:
    """Write a file into an object, which it replaces."""

    async def work() -> int:
        async with cluster.open() as ioctx:
            with source_of(file) as (source, size), Meter(f"putting {oid}", size) as meter:
                return await put(ioctx, oid, source, meter)

    if file != STANDARD and os.path.isdir(file):
        raise CoveError(f"{file} is a directory: put its files one by one")
    say(f"put {oid} {human_bytes(run(work()))}")


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
def rm(
    cluster: Cluster, oids: Annotated[list[str], typer.Argument(metavar="OBJ...", help="The objects' names.")]
) -> None:
    """Remove objects; those that can't be removed don't keep the others."""
    failed = run(_remove(cluster, oids))
    if failed:
        raise typer.Exit(1)


async def _remove(cluster: Cluster, oids: list[str]) -> int:
    """How many could not be removed."""
    from ..rados import Error, NotConnected

    failed = 0
    async with cluster.open() as ioctx:
        for oid in oids:
            try:
                await ioctx.remove(oid)
            except NotConnected:
                raise
            except Error as error:
                failed += 1
                errors.print(Text.assemble(("error:", "bold red"), " ", "\n".join(printable_lines([str(error)]))))
            else:
                say(f"removed {oid}")
    return failed


rados_bench.register(app)
rados_trace.register(app)
