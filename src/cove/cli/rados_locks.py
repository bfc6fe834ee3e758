"""`cove rados lock list|get|break|info`: advisory locks on objects."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CoveError
from .output import Format, FormatOption, print_json, print_list, say
from .rados_options import Cluster, ObjectArgument, run, with_cluster

if TYPE_CHECKING:
    from ..rados import LockInfo

app = typer.Typer(help="Advisory locks on objects.", no_args_is_help=True)
LockArgument = Annotated[str, typer.Argument(metavar="LOCK", help="The lock's name.")]
CookieOption = Annotated[
    str, typer.Option("--lock-cookie", metavar="TEXT", help="What tells a client's locks of this name apart.")
]
COLUMNS = ("locker", "cookie", "description", "expires", "address")
NS_PER_S = 1_000_000_000


class Kind(StrEnum):
    """Who may hold a lock together."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"


def info_of(lock: str, found: LockInfo) -> dict[str, Any]:
    """A lock for programs."""
    from ..rados import LockType

    kinds: dict[int, str] = {
        LockType.EXCLUSIVE: "exclusive",
        LockType.SHARED: "shared",
        LockType.EXCLUSIVE_EPHEMERAL: "exclusive (ephemeral)",
    }
    return {
        "lock": lock,
        "type": kinds.get(found.type, str(found.type)),
        "tag": found.tag,
        "lockers": [
            {
                "locker": str(locker.entity),
                "cookie": locker.cookie,
                "description": held.description,
                "expires": moment(held.expiration_ns),
                "address": str(held.address),
            }
            for locker, held in sorted(found.lockers.items())
        ],
    }


def moment(ns: int) -> str | None:
    """When a lock ends, None if it does not by itself."""
    return datetime.fromtimestamp(ns / NS_PER_S, UTC).isoformat(timespec="seconds") if ns else None


@app.callback()
@with_cluster
def lock(cluster: Cluster) -> None:
    """Advisory locks on objects."""


@app.command("list")
@with_cluster
def list_(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
    """List the locks of an object."""

    async def work() -> list[dict[str, Any]]:
        async with cluster.open() as ioctx:
            names = await ioctx.list_locks(oid)
            return [info_of(name, await ioctx.list_lockers(oid, name)) for name in names]

    locks = run(work())
    if format is Format.JSON:
        print_json(locks)
        return
    rows = [found | {"lockers": [locker["locker"] for locker in found["lockers"]]} for found in locks]
    print_list(rows, ("lock", "type", "tag", "lockers"), format, empty=f"{oid} has no locks")


@app.command()
@with_cluster
def info(cluster: Cluster, oid: ObjectArgument, lock: LockArgument, format: FormatOption = Format.TABLE) -> None:
    """Show who holds a lock."""

    async def work() -> dict[str, Any]:
        async with cluster.open() as ioctx:
            return info_of(lock, await ioctx.list_lockers(oid, lock))

    found = run(work())
    if format is Format.JSON:
        print_json(found)
        return
    print_list(found["lockers"], COLUMNS, format, empty=f"nobody holds lock {lock} of {oid}")
    if found["lockers"]:
        say(found["type"] + (f", tag {found['tag']}" if found["tag"] else ""), "type")


@app.command()
@with_cluster
def get(
    cluster: Cluster,
    oid: ObjectArgument,
    lock: LockArgument,
    cookie: CookieOption = "",
    tag: Annotated[str, typer.Option("--lock-tag", metavar="TEXT", help="All who share a lock give the same.")] = "",
    description: Annotated[str, typer.Option("--lock-description", metavar="TEXT", help="For people.")] = "",
    duration: Annotated[
        float, typer.Option("--lock-duration", metavar="S", min=0, help="It ends by itself then; 0: it does not.")
    ] = 0,
    type: Annotated[Kind, typer.Option("--lock-type", help="Alone, or with others.")] = Kind.EXCLUSIVE,
) -> None:
    """Take a lock, and leave it taken: `lock break` gives it back.

    The object is made if there is none.
    """

    async def work() -> int:
        from ..rados import ObjectBusy, ObjectExists

        async with cluster.open(writes=True) as ioctx:
            try:
                if type is Kind.SHARED:
                    await ioctx.lock_shared(oid, lock, cookie, tag, description=description, duration_s=duration)
                else:
                    await ioctx.lock_exclusive(oid, lock, cookie, description=description, duration_s=duration)
            except (ObjectBusy, ObjectExists):
                raise CoveError(
                    f"lock {lock!r} of object {oid!r} is held: `cove rados lock info` shows by whom, `lock break` "
                    "takes it away"
                ) from None
            return ioctx.cluster.global_id

    if tag and type is Kind.EXCLUSIVE:
        raise typer.BadParameter("--lock-tag goes with --lock-type shared")
    say(f"client.{run(work())} holds lock {lock} of {oid}")


@app.command("break")
@with_cluster
def break_(
    cluster: Cluster,
    oid: ObjectArgument,
    lock: LockArgument,
    locker: Annotated[str, typer.Argument(metavar="LOCKER", help="Who holds it, such as client.4123.")],
    cookie: CookieOption = "",
) -> None:
    """Take a lock away from who holds it."""
    from ..rados import InvalidArgument, ObjectNotFound
    from ..rados.ioctx_locks import client_of

    try:
        who = client_of(locker)
    except InvalidArgument as problem:
        raise typer.BadParameter(str(problem)) from None

    async def work() -> None:
        async with cluster.open(writes=True) as ioctx:
            try:
                await ioctx.break_lock(oid, lock, who, cookie)
            except ObjectNotFound:
                text = f"{locker} does not hold lock {lock!r} of object {oid!r}"
                text += f" with cookie {cookie!r}" if cookie else " without a cookie"
                raise CoveError(f"{text}: `cove rados lock info` shows who does") from None

    run(work())
    say(f"took lock {lock} of {oid} from {locker}")


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="lock")
