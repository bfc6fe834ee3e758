"""`cove rados`: objects and pools of a Ceph cluster; each module of `SUBJECTS` adds the commands of one subject.

It needs no server: it is a client of the cluster that ceph.conf names.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from . import (
    rados_bench,
    rados_export,
    rados_import,
    rados_listing,
    rados_locks,
    rados_objects,
    rados_omap,
    rados_pools,
    rados_snaps,
    rados_trace,
    rados_watch,
    rados_xattrs,
)
from .rados_options import Cluster, with_cluster

SUBJECTS = {
    "Pools": (rados_pools, rados_export, rados_import),
    "Objects": (rados_listing, rados_objects),
    "Attributes": (rados_xattrs,),
    "Object maps": (rados_omap,),
    "Snapshots": (rados_snaps,),
    "Locks and watches": (rados_locks, rados_watch),
    "Measuring": (rados_bench, rados_trace),
}
"""In the order in which `--help` shows them."""
HELP_CHARACTERS_MAX = 200


class BySubject(TyperGroup):
    """Shows its commands by subject, each with all of its line of help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands."""
        width = max(map(len, self.commands))
        for subject, names in COMMANDS.items():
            with formatter.section(subject):
                rows = [(name, self.commands[name].get_short_help_str(HELP_CHARACTERS_MAX)) for name in names]
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows])


app = typer.Typer(help="Objects and pools of a Ceph cluster.", no_args_is_help=True, cls=BySubject)


@app.callback()
@with_cluster
def rados(cluster: Cluster) -> None:
    """Objects and pools of a Ceph cluster."""


def _names() -> list[str]:
    commands = [info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands]
    return commands + [str(info.name) for info in app.registered_groups]


COMMANDS: dict[str, list[str]] = {}
"""Subject → names of its commands."""
for subject, modules in SUBJECTS.items():
    before = _names()
    for module in modules:
        module.register(app)
    COMMANDS[subject] = [name for name in _names() if name not in before]
