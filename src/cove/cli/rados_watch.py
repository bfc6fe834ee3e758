"""`cove rados watch, notify, listwatchers`: messages to all who watch an object."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import Format, FormatOption, errors, json_text, print_json, print_list, printable
from .rados_options import Cluster, ObjectArgument, run, with_cluster
from .rados_values import for_programs, plural, preview

if TYPE_CHECKING:
    from ..rados import Error, IoCtx, Notification, NotifyResult

TIMEOUT_S = 10.0


def told(data: bytes) -> bytes:
    """The message itself: Ceph's own `rados notify` sends its length before it."""
    if len(data) >= 4 and int.from_bytes(data[:4], "little") == len(data) - 4:
        return data[4:]
    return data


def show_notification(notification: Notification, format: Format) -> None:
    """A line, at once: who, and what."""
    who = f"client.{notification.notifier}"
    if format is Format.JSON:
        found = {"notify_id": notification.notify_id, "notifier": who} | for_programs(notification.data)
        sys.stdout.write(json_text(found) + "\n")
    else:
        moment = f"{datetime.now():%H:%M:%S.%f}"[:-3]
        sys.stdout.write(f"{moment}  {who}  {printable(preview(told(notification.data)))}\n")
    sys.stdout.flush()


async def watch_object(ioctx: IoCtx, oid: str, reply: bytes, format: Format) -> None:
    """Show notifications until the watch is lost; its error is raised then. Raises rados errors."""
    lost: asyncio.Future[Error] = asyncio.get_running_loop().create_future()

    def notified(notification: Notification) -> bytes:
        show_notification(notification, format)
        return reply

    def ended(problem: Error) -> None:
        if not lost.done():
            lost.set_result(problem)

    async with await ioctx.watch(oid, notified, on_error=ended) as watch:
        errors.print(f"watching {printable(oid)} (cookie {watch.cookie}) until Ctrl-C", style="dim", markup=False)
        raise await lost


def answers_of(result: NotifyResult) -> dict[str, Any]:
    """What a notify brought, for programs."""
    return {
        "answers": [
            {"watcher": f"client.{who.client}", "cookie": who.cookie} | for_programs(answer)
            for who, answer in sorted(result.answers.items())
        ],
        "missed": [{"watcher": f"client.{who.client}", "cookie": who.cookie} for who in sorted(result.missed)],
    }


def show_answers(oid: str, result: NotifyResult, format: Format) -> None:
    """Who answered what, and who did not."""
    if format is Format.JSON:
        print_json(answers_of(result))
        return
    rows = [
        {"watcher": f"client.{who.client}", "cookie": who.cookie, "answer": preview(answer)}
        for who, answer in sorted(result.answers.items())
    ] + [
        {"watcher": f"client.{who.client}", "cookie": who.cookie, "answer": "missing"} for who in sorted(result.missed)
    ]
    print_list(rows, ("watcher", "cookie", "answer"), format, empty=f"nobody watches {oid}")


async def notify_watchers(cluster: Cluster, oid: str, message: bytes, timeout: float) -> NotifyResult:
    """The answers; of those who did not give one in time, too. Raises rados errors."""
    from ..rados import NotifyTimedOut

    async with cluster.open(writes=True) as ioctx:
        try:
            return await ioctx.notify(oid, message, timeout_s=timeout)
        except NotifyTimedOut as problem:
            return problem.notify_result


async def watchers_of(cluster: Cluster, oid: str) -> list[dict[str, Any]]:
    """Who watches an object. Raises rados errors."""
    async with cluster.open() as ioctx:
        return [
            {
                "watcher": str(item.name),
                "cookie": item.cookie,
                "timeout_s": item.timeout,
                "address": str(item.address),
            }
            for item in await ioctx.list_watchers(oid)
        ]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    @with_cluster
    def watch(
        cluster: Cluster,
        oid: ObjectArgument,
        reply: Annotated[str, typer.Option("--reply", metavar="TEXT", help="What to answer to each.")] = "",
        format: FormatOption = Format.TABLE,
    ) -> None:
        """Show what others notify the watchers of an object of, until Ctrl-C."""

        async def work() -> None:
            async with cluster.open(writes=True) as ioctx:
                await watch_object(ioctx, oid, os.fsencode(reply), format)

        run(work())

    @app.command()
    @with_cluster
    def notify(
        cluster: Cluster,
        oid: ObjectArgument,
        message: Annotated[str, typer.Argument(metavar="MESSAGE", help="What to tell them; - is standard input.")],
        timeout: Annotated[
            float, typer.Option("--timeout", metavar="S", min=1, max=3600, help="How long to wait for their answers.")
        ] = TIMEOUT_S,
        format: FormatOption = Format.TABLE,
    ) -> None:
        """Notify all who watch an object, and show their answers and who did not answer."""
        data = sys.stdin.buffer.read() if message == "-" else os.fsencode(message)
        result = run(notify_watchers(cluster, oid, data, timeout))
        show_answers(oid, result, format)
        if result.missed:
            say_missed(len(result.missed), timeout)
            raise typer.Exit(1)

    @app.command()
    @with_cluster
    def listwatchers(cluster: Cluster, oid: ObjectArgument, format: FormatOption = Format.TABLE) -> None:
        """List who watches an object."""
        rows = run(watchers_of(cluster, oid))
        if format is Format.TABLE:
            rows = [row | {"timeout": f"{row['timeout_s']} s"} for row in rows]
        print_list(rows, ("watcher", "cookie", "timeout", "address"), format, empty=f"nobody watches {oid}")


def say_missed(count: int, timeout: float) -> None:
    """One line on stderr."""
    errors.print(f"error: {plural(count, 'watcher')} did not answer within {timeout:g} s", markup=False)
