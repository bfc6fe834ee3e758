"""`cove rados listxattr, getxattr, setxattr, rmxattr`: the attributes of objects."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import Format, FormatOption, print_list, say
from .rados_options import Cluster, ObjectArgument, run, with_cluster
from .rados_streams import STANDARD
from .rados_values import FileArgument, InputFileOption, ValueArgument, row_of, show_value, value_of

NameArgument = Annotated[str, typer.Argument(metavar="ATTR", help="The attribute's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    @with_cluster
    def listxattr(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
        """List an object's attributes, with their values."""

        async def work() -> dict[str, bytes]:
            async with cluster.open() as ioctx:
                return await ioctx.getxattrs(oid)

        rows = [row_of("attribute", name, value, format) for name, value in sorted(run(work()).items())]
        print_list(rows, ("attribute", "size", "value"), format, empty=f"{oid} has no attributes")

    @app.command()
    @with_cluster
    def getxattr(
        cluster: Cluster,
        oid: ObjectArgument,
        attribute: NameArgument,
        file: FileArgument = STANDARD,
        format: FormatOption = Format.TABLE,
    ) -> None:
        """Show the value of an attribute."""

        async def work() -> bytes:
            async with cluster.open() as ioctx:
                return await ioctx.getxattr(oid, attribute)

        show_value(run(work()), {"object": oid, "attribute": attribute}, file, format)

    @app.command()
    @with_cluster
    def setxattr(
        cluster: Cluster,
        oid: ObjectArgument,
        attribute: NameArgument,
        value: ValueArgument = None,
        input_file: InputFileOption = None,
    ) -> None:
        """Set an attribute; the object is made if there is none."""
        data = value_of(value, input_file)

        async def work() -> None:
            async with cluster.open(writes=True) as ioctx:
                await ioctx.setxattr(oid, attribute, data)

        run(work())
        say(f"set {attribute} of {oid}")

    @app.command()
    @with_cluster
    def rmxattr(cluster: Cluster, oid: ObjectArgument, attribute: NameArgument) -> None:
        """Remove an attribute."""

        async def work() -> None:
            async with cluster.open(writes=True) as ioctx:
                await ioctx.getxattr(oid, attribute)  # one that is not there is no error to the cluster
                await ioctx.rmxattr(oid, attribute)

        run(work())
        say(f"removed {attribute} of {oid}")
