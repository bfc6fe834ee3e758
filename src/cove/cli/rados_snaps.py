"""`cove rados lssnap, mksnap, rmsnap, rollback, listsnaps`: snapshots of a pool, and what an object has of them.

Reading at a snapshot is an option of every command that reads: -s NAME, or --snapid ID.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from .output import Format, FormatOption, human_bytes, print_json, print_list, say
from .rados_options import Cluster, ObjectArgument, run, with_cluster

SnapArgument = Annotated[str, typer.Argument(metavar="SNAP", help="The snapshot's name.")]
COLUMNS = ("snapshot", "id", "taken")
CLONE_COLUMNS = ("clone", "snapshots", "size", "shared")
NS_PER_S = 1_000_000_000


async def pool_snaps(cluster: Cluster) -> list[dict[str, Any]]:
    """The pool's snapshots, oldest first."""
    async with cluster.open(writes=True) as ioctx:
        return [
            {
                "snapshot": snap.name,
                "id": snap.id,
                "taken": datetime.fromtimestamp(snap.stamp_ns / NS_PER_S, UTC).isoformat(timespec="seconds"),
            }
            for snap in sorted(ioctx.list_snaps())
        ]


async def object_clones(cluster: Cluster, oid: str) -> list[dict[str, Any]]:
    """The object's clones, oldest first, then its head unless that is deleted."""
    from ..rados import NOSNAP

    async with cluster.open(writes=True) as ioctx:
        names = {snap.id: snap.name for snap in ioctx.list_snaps()}
        found = await ioctx.object_snaps(oid)
    return [
        {
            "clone": "head" if clone.id == NOSNAP else clone.id,
            "snapshots": [{"id": number, "name": names.get(number)} for number in clone.snaps],
            "size_bytes": clone.size,
            "overlaps": [{"offset": part.offset, "length": part.length} for part in clone.overlap],
        }
        for clone in found.clones
    ]


def for_people(clone: dict[str, Any]) -> dict[str, Any]:
    """A clone with names and units; `shared` is what it has in common with the next one."""
    shared = sum(part["length"] for part in clone["overlaps"])
    return {
        "clone": clone["clone"],
        "snapshots": ", ".join(snap["name"] or str(snap["id"]) for snap in clone["snapshots"]),
        "size": human_bytes(clone["size_bytes"]),
        "shared": "" if clone["clone"] == "head" else human_bytes(shared),
    }


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    @with_cluster
    def lssnap(cluster: Cluster, format: FormatOption = Format.TABLE) -> None:
        """List the snapshots of a pool."""
        rows = run(pool_snaps(cluster))
        if format is Format.TABLE:
            rows = [row | {"taken": f"{datetime.fromisoformat(row['taken']).astimezone():%F %T%z}"} for row in rows]
        print_list(rows, COLUMNS, format, empty="no snapshots: `cove rados mksnap NAME` takes one")

    @app.command()
    @with_cluster
    def mksnap(cluster: Cluster, snapshot: SnapArgument) -> None:
        """Take a snapshot of a pool."""

        async def work() -> int:
            async with cluster.open(writes=True) as ioctx:
                await ioctx.create_snap(snapshot)
                return ioctx.lookup_snap(snapshot).id

        say(f"took snapshot {snapshot} (number {run(work())}) of pool {cluster.pool}")

    @app.command()
    @with_cluster
    def rmsnap(cluster: Cluster, snapshot: SnapArgument) -> None:
        """Remove a snapshot of a pool."""

        async def work() -> None:
            async with cluster.open(writes=True) as ioctx:
                await ioctx.remove_snap(snapshot)

        run(work())
        say(f"removed snapshot {snapshot} of pool {cluster.pool}")

    @app.command()
    @with_cluster
    def rollback(cluster: Cluster, oid: ObjectArgument, snapshot: SnapArgument) -> None:
        """Make an object what it was at a snapshot; if there was none then, it is removed."""

        async def work() -> None:
            async with cluster.open(writes=True) as ioctx:
                await ioctx.rollback(oid, snapshot)

        run(work())
        say(f"rolled {oid} back to snapshot {snapshot}")

    @app.command()
    @with_cluster
    def listsnaps(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
        """List what an object has of snapshots: its clones, and its head."""
        clones = run(object_clones(cluster, oid))
        if format is Format.JSON:
            print_json({"object": oid, "clones": clones})
        else:
            print_list([for_people(clone) for clone in clones], CLONE_COLUMNS, format, empty=f"{oid} has none")
