"""`cove rados trace`: one operation's way: map, placement group, OSDs, throttle, bytes, and the time of each stage.

The operation is done twice by default: the first time its connection has to be made, the second time it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CoveError
from .output import Format, FormatOption, console, human_bytes, print_json, print_list, say
from .rados_options import Cluster, run, with_cluster

if TYPE_CHECKING:
    from ..rados import IoCtx
    from ..rados.operations import OpVector
    from ..rados.trace import OpTrace, Place

READ_BYTES_MAX = 4 << 20
TIMES_MAX = 8
NOBODY = 0x7FFFFFFF

STAGES = {
    "admitted": "throttle",
    "targeted": "placement",
    "sent": "encode and hand over",
    "connected": "connect to the OSD",
    "answered": "wait for the OSD",
    "delivered": "deliver",
}
"""A stage that has been passed → what the time since the one before it was spent on."""


@dataclass(frozen=True, slots=True)
class Traced:
    """One pass: its trace, how it ended (0, or a negative error number), and the error in words."""

    trace: OpTrace
    result: int
    problem: str


async def trace_once(ioctx: IoCtx, oid: str, op: OpVector) -> Traced:
    """Do the operation and record its way; an operation that is refused has one, too."""
    from ..rados.trace import OpTrace

    trace = OpTrace()
    completion = ioctx.aio_operate(oid, op.traced(trace))
    await completion.wait_for_complete()
    problem = completion.error()
    return Traced(trace, completion.get_return_value(), "" if problem is None else str(problem))


def osd_names(osds: tuple[int, ...]) -> str:
    """`osd.2 osd.0`; a hole in an erasure-coded set is a dash."""
    return " ".join("-" if osd == NOBODY else f"osd.{osd}" for osd in osds) or "none"


def place_of(place: Place) -> dict[str, Any]:
    """Where the operation went, for programs."""
    return {
        "epoch": place.epoch,
        "hash": f"{place.raw_hash:08x}",
        "pg": place.pg,
        "up": [None if osd == NOBODY else osd for osd in place.up],
        "acting": [None if osd == NOBODY else osd for osd in place.acting],
        "osd": None if place.osd < 0 else place.osd,
        "address": place.address,
    }


def steps_of(trace: OpTrace) -> list[tuple[str, int]]:
    """Each stage in the order it was passed, with the nanoseconds since the one before."""
    steps, before = [], 0
    for event in trace.events[1:]:
        steps.append((event.stage.value, event.at_ns - before))
        before = event.at_ns
    return steps


def for_programs(traced: Traced) -> dict[str, Any]:
    """All of a pass."""
    trace = traced.trace
    return {
        "result": traced.result,
        "error": traced.problem or None,
        "attempts": trace.attempts,
        "places": [place_of(place) for place in trace.places],
        "throttle": {
            "wait_us": (trace.first_ns("admitted") or 0) / 1e3,
            "operations_in_flight": trace.throttle_ops,
            "bytes_in_flight": trace.throttle_bytes,
        },
        "bytes_out": trace.bytes_out,
        "bytes_in": trace.bytes_in,
        "stages": [{"stage": event.stage.value, "at_us": event.at_ns / 1e3} for event in trace.events],
        "total_us": trace.events[-1].at_ns / 1e3,
    }


def microseconds(time_ns: int) -> str:
    """1234567 → `1,235 µs`."""
    return f"{time_ns / 1e3:,.1f} µs" if time_ns < 100_000 else f"{time_ns / 1e3:,.0f} µs"


def show(ioctx: IoCtx, oid: str, what: str, passes: list[Traced]) -> None:
    """For people: where it goes, then a column of times for each pass."""
    last = passes[-1].trace
    say(f"{what} on {oid!r} in pool {ioctx.pool_name} ({ioctx.pool_id})", "trace")
    limits = ioctx.cluster.conf
    for place in last.places:
        say(f"epoch {place.epoch}", "map")
        say(f"hash {place.raw_hash:08x} → placement group {place.pg}", "place")
        where = f", which is at {place.address}" if place.address else ""
        primary = f"osd.{place.osd}{where}" if place.osd >= 0 else "nobody: it waits for a map"
        moved = "" if place.up == place.acting else f" (up: {osd_names(place.up)})"
        say(f"acting {osd_names(place.acting)}{moved}; sent to {primary}", "osds")
    say(
        f"{last.throttle_ops} of {limits.inflight_ops_max} operations and {human_bytes(last.throttle_bytes)} of "
        f"{human_bytes(limits.inflight_bytes_max)} were in flight before it",
        "budget",
    )
    say(f"{human_bytes(last.bytes_out)} out, {human_bytes(last.bytes_in)} in", "data")
    console.print()
    names: list[str] = []
    columns: list[dict[str, int]] = []
    for traced in passes:
        column: dict[str, int] = {}
        for stage, spent in steps_of(traced.trace):
            name = STAGES[stage]
            number = 2
            while name in column:  # it has been there before: sent again
                name = f"{STAGES[stage]} ({number})"
                number += 1
            column[name] = spent
            if name not in names:
                names.insert(_place_after(names, column), name)
        column["total"] = traced.trace.events[-1].at_ns
        columns.append(column)
    headers = ["first time", *(f"time {number}" for number in range(2, len(passes) + 1))]
    rows = [
        {"stage": name}
        | {
            header: microseconds(column[name]) if name in column else ""
            for header, column in zip(headers, columns, strict=True)
        }
        for name in [*names, "total"]
    ]
    print_list(rows, ("stage", *headers), Format.TABLE, empty="")


def _place_after(names: list[str], column: dict[str, int]) -> int:
    """Where a stage that is new in this pass belongs: after the one that was passed before it."""
    seen = list(column)
    return names.index(seen[-2]) + 1 if len(seen) > 1 and seen[-2] in names else len(names)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    @with_cluster
    def trace(
        cluster: Cluster,
        oid: Annotated[str, typer.Argument(metavar="OBJ", help="The object's name.")],
        put: Annotated[
            Path | None, typer.Option("--put", metavar="FILE", help="Write this file into it, instead of reading.")
        ] = None,
        times: Annotated[int, typer.Option("--times", metavar="N", min=1, max=TIMES_MAX, help="How often.")] = 2,
        format: FormatOption = Format.TABLE,
    ) -> None:
        """Show the way of one operation: a read of the object's first 4 MiB, or a write with --put."""
        data = None if put is None else put.read_bytes()
        if data is not None and len(data) > READ_BYTES_MAX:
            raise CoveError(
                f"{put} has {human_bytes(len(data))}: one operation takes {human_bytes(READ_BYTES_MAX)} here"
            )

        async def work() -> list[Traced]:
            from ..rados import ReadOp, WriteOp

            async with cluster.open() as ioctx:
                passes = []
                for _ in range(times):
                    op: OpVector = ReadOp().read(READ_BYTES_MAX) if data is None else WriteOp().write_full(data)
                    passes.append(await trace_once(ioctx, oid, op))
                if format is Format.JSON:
                    print_json({"object": oid, "pool": ioctx.pool_name, "passes": [for_programs(p) for p in passes]})
                else:
                    show(ioctx, oid, "read" if data is None else f"write of {human_bytes(len(data))}", passes)
                return passes

        last = run(work())[-1]
        if last.problem:
            raise CoveError(last.problem)
