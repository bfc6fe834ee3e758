"""`cove db`: the schema revision of the control database. A server brings it up to date by itself when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CoveError
from .client import load_settings
from .output import console, printable, quiet_logs

if TYPE_CHECKING:
    from ..db.backend import Backend

app = typer.Typer(help="The control database's schema.", no_args_is_help=True)
TargetOption = Annotated[str | None, typer.Option("--to", metavar="REVISION", help="A revision, such as 0002.")]


@app.command()
def current() -> None:
    """Show the database's revision, and the newest one."""
    from ..db.migrations import HEAD_REVISION

    backend = _backend()
    console.print(f"{backend.revision() or 'empty'} (newest: {HEAD_REVISION})", markup=False)


@app.command()
def upgrade(to: TargetOption = None) -> None:
    """Bring the database to the newest revision, or to another one above its own."""
    _move(to, up=True)


@app.command()
def downgrade(to: TargetOption = None) -> None:
    """Take the database back to an older revision, for an older Cove.

    What that one does not know is deleted: make a backup first.
    """
    if to is None:
        raise CoveError("say which revision: cove db downgrade --to REVISION (`cove db current` shows the present one)")
    _move(to, up=False)


def _backend() -> Backend:
    from ..db.backend import backend_of

    quiet_logs()
    return backend_of(load_settings().database_url)


def _move(to: str | None, *, up: bool) -> None:
    from ..db.migrations import HEAD_REVISION

    target = to or HEAD_REVISION
    backend = _backend()
    _refuse_if_used(backend)
    found = backend.revision()
    if found is not None and target != found and (target > found) is not up:
        other = "downgrade" if up else "upgrade"
        raise CoveError(f"the database has revision {found}: use `cove db {other} --to {target}`")
    steps = backend.move(target)
    for step in steps:
        console.print(printable(step), markup=False)
    console.print(f"the database {backend.label} has revision {target}" + ("" if steps else " already"), markup=False)


def _refuse_if_used(backend: Backend) -> None:
    from .lifecycle import running_pid

    pid = running_pid(load_settings())
    if pid is not None:
        raise CoveError(f"Cove is running (pid {pid}): `cove down` first")
    sessions = backend.sessions()
    if sessions:
        raise CoveError(f"servers are using the database {backend.label} ({sessions} connections): stop them first")
