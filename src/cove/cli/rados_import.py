"""`cove rados import`: objects of a dump into a pool (rados/dump does it); how far it came if something is wrong."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ..errors import CoveError
from .output import Format, FormatOption, errors, human_bytes, print_json, printable, say
from .rados_options import Cluster, run, with_cluster
from .rados_streams import STANDARD, source_of
from .rados_transfer import Meter
from .rados_values import plural

if TYPE_CHECKING:
    from ..rados.dump import Existing, Imported, Outcome

DRY = {"written": "write", "overwritten": "overwrite", "kept": "keep", "passed over": "pass over"}


@contextmanager
def _explained(file: str, counts: Counter[str]) -> Iterator[None]:
    """Errors that say how far it came."""
    from ..rados.dump import DamagedDump

    try:
        yield
    except CoveError as problem:
        done = counts.total()
        if isinstance(problem, DamagedDump):
            name = "the dump" if file == STANDARD else file
            changed = f"what was before it was imported ({plural(done, 'object')})" if done else "nothing was changed"
            better = DamagedDump(f"{name}, {problem}; {changed}")
            for note in getattr(problem, "__notes__", ()):
                better.add_note(note)
            raise better from None
        if done:
            problem.add_note(f"{plural(done, 'object')} before it are done: the import can be repeated")
        raise


async def _import(cluster: Cluster, file: str, existing: Existing, dry_run: bool, shown: bool) -> Imported:
    from ..rados.dump import check_dump, import_pool, in_thread

    counts: Counter[str] = Counter()

    def outcome(found: Outcome) -> None:
        counts[found.what] += 1
        if dry_run and shown:
            _show(found)

    with _explained(file, counts), source_of(file) as (source, size):
        if size is not None and source.seekable():
            await in_thread(check_dump, source)
        async with cluster.open(writes=True) as ioctx:
            with Meter(f"importing into {ioctx.pool_name}", size) as meter:
                return await import_pool(ioctx, source, existing, dry_run=dry_run, moved=meter.move, outcome=outcome)


def _show(outcome: Outcome) -> None:
    begin = outcome.begin
    parts = [DRY[outcome.what], begin.nspace, begin.name, begin.locator_key]
    sys.stdout.write("\t".join(map(printable, parts)).rstrip("\t") + "\n")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("import")
    @with_cluster
    def import_(
        cluster: Cluster,
        file: Annotated[str, typer.Argument(metavar="FILE", help="What `export` wrote; - is standard input.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done with each.")] = False,
        no_overwrite: Annotated[bool, typer.Option("--no-overwrite", help="Leave objects that are there.")] = False,
        format: FormatOption = Format.TABLE,
    ) -> None:
        """Bring the objects of a dump into a pool; objects of the same name are replaced."""
        from ..rados.dump import Existing

        existing = Existing.KEEP if no_overwrite else Existing.REPLACE
        imported = run(_import(cluster, file, existing, dry_run, format is Format.TABLE))
        size, counts = imported.size_bytes, imported.counts
        partial = sum(count for what, count in counts.items() if "without" in what)
        if format is Format.JSON:
            print_json({"dry_run": dry_run, "bytes": size} | {w.replace(" ", "_"): c for w, c in counts.items()})
        elif not dry_run:
            parts = [f"{plural(count, 'object')} {what}" for what, count in sorted(counts.items())] or ["no objects"]
            say(f"imported {human_bytes(size)}: {', '.join(parts)}")
        if partial:
            text = f"{plural(partial, 'object')} without the omap: import into a pool that is not erasure-coded"
            errors.print(Text.assemble(("error:", "bold red"), " ", text))
            raise typer.Exit(1)
