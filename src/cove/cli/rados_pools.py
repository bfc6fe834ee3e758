"""`cove rados lspools, df, mkpool, rmpool, cppool, purge`: pools as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import Format, FormatOption, errors, human_bytes, print_json, print_list, say
from .rados_options import Cluster, open_pool, run, with_cluster
from .rados_transfer import Meter, stats_of
from .rados_values import plural

if TYPE_CHECKING:
    from ..rados import Rados
    from ..rados.dump import ObjectBegin, Written

DF_COLUMNS = ("pool", "used", "objects", "degraded", "unfound", "reads", "read", "writes", "written")
TROUBLES = ("degraded", "unfound")
"""Columns that are shown only where there is something to show."""
PoolArgument = Annotated[str, typer.Argument(metavar="POOL", help="The pool's name.")]
SureOption = Annotated[bool, typer.Option("--yes-i-really-really-mean-it", help="Do it: nothing brings it back.")]
PURGE_OBJECTS_MAX = 64


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


async def purge_pool(cluster: Cluster, pool: str) -> int:
    """Remove all objects; how many they were. Raises rados errors."""
    from ..rados import ObjectNotFound
    from ..rados.dump import at, in_order, objects_of

    count = 0
    async with cluster.connect() as rados, await open_pool(rados, pool) as ioctx:

        async def remove(begin: ObjectBegin) -> bool:
            try:
                await at(ioctx, begin).remove(begin.name)
            except ObjectNotFound:  # somebody else was quicker, or only snapshots of it are left
                return False
            return True

        stats = await stats_of(rados, pool)
        with Meter(f"purging {pool}", stats and stats.num_objects, unit="objects") as meter:
            async with in_order(objects_of(ioctx, None), remove, PURGE_OBJECTS_MAX) as results:
                async for removed in results:
                    count += removed
                    meter.move(1)
    return count


async def copy_pool(cluster: Cluster, source: str, target: str) -> tuple[int, int, int]:
    """Copy all objects; how many, their bytes, and how many lost their omap. Raises rados errors, ObjectChanged."""
    from ..rados import ObjectNotFound
    from ..rados.dump import Existing, Written, in_order, objects_of, read_object, write_object

    count = size = partial = 0
    async with (
        cluster.connect() as rados,
        await open_pool(rados, source) as reading,
        await open_pool(rados, target) as writing,
    ):

        async def copy(begin: ObjectBegin) -> tuple[Written, int] | None:
            try:
                contents = await read_object(reading, begin)
            except ObjectNotFound:  # removed meanwhile
                return None
            try:
                return await write_object(writing, contents, Existing.REPLACE), contents.size
            finally:
                contents.close()

        stats = await stats_of(rados, source)
        with Meter(f"copying {source} to {target}", stats and stats.num_bytes) as meter:
            async with in_order(objects_of(reading, None), copy) as results:
                async for result in results:
                    if result is not None:
                        count += 1
                        size += result[1]
                        partial += result[0] is Written.WITHOUT_OMAP
                        meter.move(result[1])
    return count, size, partial


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    @with_cluster
    def lspools(cluster: Cluster, format: FormatOption = Format.TABLE) -> None:
        """List pools."""

        async def work() -> list[dict[str, Any]]:
            async with cluster.connect() as rados:
                return pool_rows(rados)

        columns = ("pool", "id", "type", "size", "pgs", "applications")
        print_list(run(work()), columns, format, empty="no pools: `cove rados mkpool NAME` makes one")

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
        columns = [name for name in DF_COLUMNS if name not in TROUBLES or any(row[name] for row in rows)]
        print_list(rows, columns, format, empty="no pools")
        sizes = [human_bytes(found[key]) for key in ("used_bytes", "available_bytes", "total_bytes")]
        say(f"{found['objects']} objects · {sizes[0]} used · {sizes[1]} free of {sizes[2]}", "cluster")

    @app.command()
    @with_cluster
    def mkpool(cluster: Cluster, which: PoolArgument) -> None:
        """Create a pool, as the cluster makes them by default."""

        async def work() -> int:
            async with cluster.connect() as rados:
                return await rados.pool_create(which)

        say(f"created pool {which} (number {run(work())})")

    @app.command()
    @with_cluster
    def rmpool(
        cluster: Cluster,
        which: PoolArgument,
        again: Annotated[str, typer.Argument(metavar="POOL", help="Its name again.")] = "",
        sure: SureOption = False,
    ) -> None:
        """Delete a pool with all its objects: its name twice, and --yes-i-really-really-mean-it."""
        if which != again or not sure:
            raise typer.BadParameter(
                f"this destroys pool {which} with all its objects; to do it, give its name twice, and "
                "--yes-i-really-really-mean-it"
            )

        async def work() -> None:
            async with cluster.connect() as rados:
                await rados.pool_delete(which)

        run(work())
        say(f"deleted pool {which}")

    @app.command()
    @with_cluster
    def purge(cluster: Cluster, which: PoolArgument, sure: SureOption = False) -> None:
        """Remove all objects of a pool, in all namespaces."""
        if not sure:
            raise typer.BadParameter(
                f"this removes every object of pool {which}; to do it, add --yes-i-really-really-mean-it"
            )
        say(f"removed {plural(run(purge_pool(cluster, which)), 'object')} of pool {which}")

    @app.command()
    @with_cluster
    def cppool(
        cluster: Cluster,
        source: Annotated[str, typer.Argument(metavar="POOL", help="The pool to copy.")],
        target: Annotated[str, typer.Argument(metavar="TARGET", help="The pool to copy into; it must be there.")],
    ) -> None:
        """Copy all objects of a pool into another; those of the same name are replaced. Snapshots are not copied."""
        if source == target:
            raise typer.BadParameter(f"{source} can't be copied into itself")
        count, size, partial = run(copy_pool(cluster, source, target))
        say(f"copied {plural(count, 'object')}, {human_bytes(size)}, to pool {target}")
        if partial:
            errors.print(f"{plural(partial, 'object')} lost their omap: erasure-coded pools have none", style="yellow")
            raise typer.Exit(1)
