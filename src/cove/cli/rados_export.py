"""`cove rados export`: a pool's objects into a file (rados/dump does it), which appears once it is complete."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from .output import Format, FormatOption, errors, human_bytes, print_json, say
from .rados_options import Cluster, run, with_cluster
from .rados_streams import STANDARD, standard_output, writing
from .rados_transfer import Meter, stats_of
from .rados_values import plural

if TYPE_CHECKING:
    from ..rados.dump import Exported


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete, and not at all otherwise. Raises OSError."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):  # a device, a pipe
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()  # what a link points to is what is replaced
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, _mode(path))
            yield file
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode(path: Path) -> int:
    """What the file at the path has, or a new one would have."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


async def _export(cluster: Cluster, path: str) -> Exported:
    from ..rados.dump import export_pool

    async with cluster.open() as ioctx:
        stats = await stats_of(ioctx.cluster, ioctx.pool_name)
        with Meter(f"exporting {ioctx.pool_name}", stats and stats.num_bytes) as meter, writing(path):
            if path == STANDARD:
                return await export_pool(ioctx, standard_output(), cluster.namespace, moved=meter.move)
            with whole_file(Path(path)) as file:
                return await export_pool(ioctx, file, cluster.namespace, moved=meter.move)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("export")
    @with_cluster
    def export(
        cluster: Cluster,
        file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write; - is standard output.")] = STANDARD,
        format: FormatOption = Format.TABLE,
    ) -> None:
        """Write all objects of a pool into a file that `import` reads, Ceph's own, too.

        Those of all namespaces, unless -N names one; as they were at a snapshot with -s.
        """
        if file == STANDARD and sys.stdout.isatty():
            raise typer.BadParameter("a dump is nothing for a terminal: give a FILE, or redirect the output")
        done = run(_export(cluster, file))
        if done.gone:
            errors.print(f"{plural(done.gone, 'object')} were listed but are deleted", style="dim")
        if file == STANDARD:
            return
        if format is Format.JSON:
            print_json({"file": file, "objects": done.objects, "bytes": done.size_bytes, "gone": done.gone})
        else:
            say(f"exported {plural(done.objects, 'object')}, {human_bytes(done.size_bytes)}, to {file}")
