"""Which cluster, pool and namespace a `cove rados` command means: options that stand before or after its name.

`cove rados -p rbd stat x` and `cove rados stat -p rbd x` are the same; what stands after the name wins. What is not
given comes from the environment and from ceph.conf, as for Ceph's own tools.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..errors import CoveError
from .output import errors, quiet_logs

if TYPE_CHECKING:  # it takes longer to import than `--help` takes to run
    from ..rados import IoCtx, Rados

T = TypeVar("T")
PATIENCE_S = 0.7
"""What is quicker than this shows no sign of going on."""


ObjectArgument = Annotated[str, typer.Argument(metavar="OBJ", help="The object's name.")]
ObjectsArgument = Annotated[list[str], typer.Argument(metavar="OBJ...", help="The objects' names.")]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The options; None where one was not given."""

    conf: str | None = None
    name: str | None = None
    id: str | None = None
    keyring: str | None = None
    pool: str | None = None
    namespace: str | None = None
    locator: str | None = None
    snap: str | None = None
    snapid: int | None = None
    connect_timeout: float | None = None

    @property
    def entity(self) -> str | None:
        """Who to log in as, e.g. `client.admin`. Raises typer.BadParameter."""
        if self.name is not None and self.id is not None and self.name != f"client.{self.id}":
            raise typer.BadParameter(f"--name {self.name} and --id {self.id} contradict each other: give one of them")
        return self.name if self.id is None else f"client.{self.id}"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Rados]:
        """A connected client. Raises rados errors."""
        from ..rados import Rados

        rados = Rados(self.conf, name=self.entity, keyring=self.keyring)
        async with patience("connecting to the cluster"):
            await rados.connect(self.connect_timeout)
        try:
            yield rados
        finally:
            await rados.shutdown()

    @asynccontextmanager
    async def open(self, *, writes: bool = False) -> AsyncIterator[IoCtx]:
        """The pool, with namespace, locator and snapshot set. Raises typer.BadParameter, rados errors."""
        if not self.pool:
            raise typer.BadParameter("which pool? give it with -p POOL (`cove rados lspools` shows them)")
        if writes and (self.snap is not None or self.snapid is not None):
            raise typer.BadParameter("a snapshot is only read: leave --snap and --snapid out")
        if self.snap is not None and self.snapid is not None:
            raise typer.BadParameter("--snap and --snapid: give one of them")
        with in_commands():
            async with self.connect() as rados, await open_pool(rados, self.pool) as ioctx:
                if self.namespace:
                    ioctx.set_namespace(self.namespace)
                if self.locator:
                    ioctx.set_locator_key(self.locator)
                if self.snap is not None:
                    ioctx.snap_set_read(ioctx.lookup_snap(self.snap).id)
                elif self.snapid is not None:
                    ioctx.snap_set_read(self.snapid)
                with of_erasure_codes(ioctx):
                    yield ioctx


WORDS = {
    "pool_create()": "`cove rados mkpool NAME`",
    "list_snaps()": "`cove rados lssnap`",
    "with create_snap(), and read that": "(`cove rados mksnap`) and read that (-s SNAP)",
}
"""What the client's errors advise → how to do that here."""


@contextmanager
def in_commands() -> Iterator[None]:
    """The client's errors, in terms of commands."""
    try:
        yield
    except CoveError as problem:
        text = str(problem)
        for call, command in WORDS.items():
            text = text.replace(call, command)
        if text == str(problem):
            raise
        raise CoveError(text) from None


@contextmanager
def of_erasure_codes(ioctx: IoCtx) -> Iterator[None]:
    """What erasure-coded pools refuse, and why."""
    from ..rados import NotSupported

    try:
        yield
    except NotSupported as problem:
        if ioctx.cluster.osdmap.pools[ioctx.pool_id].is_erasure:
            text = f"pool {ioctx.pool_name!r} is erasure-coded: its objects have no object maps (omap)"
            if ioctx.requires_alignment():
                text += f", and are written whole, or appended to in multiples of {ioctx.alignment()} bytes"
            problem.add_note(text)
        raise


async def open_pool(rados: Rados, pool: str) -> IoCtx:
    """The pool's io context. Raises CoveError when there is none."""
    with in_commands():
        return await rados.open_ioctx(pool)


OPTIONS: dict[str, Any] = {
    "conf": Annotated[str | None, typer.Option("--conf", "-c", metavar="FILE", help="The cluster's ceph.conf.")],
    "name": Annotated[
        str | None, typer.Option("--name", "-n", metavar="CLIENT", help="Log in as this user, such as client.admin.")
    ],
    "id": Annotated[str | None, typer.Option("--id", metavar="ID", help="The same without `client.`.")],
    "keyring": Annotated[str | None, typer.Option("--keyring", "-k", metavar="FILE", help="Where the user's key is.")],
    "pool": Annotated[str | None, typer.Option("--pool", "-p", metavar="POOL", help="The pool of the objects.")],
    "namespace": Annotated[
        str | None, typer.Option("--namespace", "-N", metavar="NAME", help="The namespace in the pool.")
    ],
    "locator": Annotated[
        str | None,
        typer.Option(
            "--locator", "--object-locator", metavar="KEY", help="The key that places the object, if not its name."
        ),
    ],
    "snap": Annotated[str | None, typer.Option("--snap", "-s", metavar="NAME", help="Read at this pool snapshot.")],
    "snapid": Annotated[
        int | None, typer.Option("--snapid", metavar="ID", min=1, help="The same for a snapshot without a name.")
    ],
    "connect_timeout": Annotated[
        float | None,
        typer.Option("--connect-timeout", metavar="S", min=0.01, help="Seconds to wait for the cluster; default: 30."),
    ],
}
"""Option → how typer is told of it."""


def with_cluster(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command these options: in place of its parameter `cluster`, which gets them as a `Cluster`."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "cluster"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    common = [inspect.Parameter(n, keyword, annotation=hint, default=None) for n, hint in OPTIONS.items()]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)

    @functools.wraps(command)
    def run(ctx: typer.Context, **values: Any) -> T:
        given = {name: values.pop(name) for name in OPTIONS}
        before = ctx.obj if isinstance(ctx.obj, Cluster) else Cluster()
        cluster = replace(before, **{name: value for name, value in given.items() if value is not None})
        ctx.obj = cluster
        return command(cluster, **values)

    parameters = [context, *(parameter.replace(kind=keyword) for parameter in own), *common]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


assert set(OPTIONS) == {field.name for field in fields(Cluster)}


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work on an event loop of its own."""
    import uvloop

    quiet_logs()
    return uvloop.run(work)


@asynccontextmanager
async def patience(text: str) -> AsyncIterator[None]:
    """A spinner on the terminal, if it takes long."""
    if not errors.is_terminal:
        yield
        return
    status = errors.status(text)
    handle = asyncio.get_running_loop().call_later(PATIENCE_S, status.start)
    try:
        yield
    finally:
        handle.cancel()
        status.stop()
