"""What the way of an instance is made of: a job, its steps, and running and undoing them.

The steps themselves are in cove.compute.boot and cove.compute.prove.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from cove.compute.disks import DiskService
from cove.compute.guest import GuestFacts
from cove.compute.hypervisor import Hypervisor
from cove.compute.models import Server, ServerRecords
from cove.compute.network_api import NetworkApi
from cove.compute.uids import UidPool
from cove.compute.wiring import GuestFirewall, Wiring
from cove.errors import CoveError
from cove.linux.processes import Process
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

UNDO_TIMEOUT_S = 60.0


class BootError(CoveError):
    """An instance could not be started: says at which step, and why."""


class UndoError(CoveError):
    """Something that was made for an instance could not be removed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each wait may take, in seconds. An emulated guest on a busy host is slow."""

    disk_s: float = 1800.0  # a large image is copied
    port_active_s: float = 30.0
    lease_s: float = 120.0
    facts_s: float = 120.0
    image_lease_s: float = 600.0
    power_off_s: float = 10.0
    # Requests to a disk whose server is away; after that the guest is paused until Cove lets it go on.
    disk_away_s: int = 30


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Everything that the steps work with."""

    network: NetworkApi
    disks: DiskService
    hypervisor: Hypervisor
    wiring: Wiring
    timeline: Timeline
    records: ServerRecords
    uids: UidPool
    guest_dir: Path
    host: str
    patience: Patience = field(default_factory=Patience)
    firewall: GuestFirewall | None = None


@dataclass(slots=True)
class Job:
    """One piece of work on a server: its record, and what the steps hand to each other."""

    tools: Toolbox
    server: Server
    grace_s: float = 0.0
    launched_at_s: float = 0.0
    console_offset: int = 0
    process: Process | None = None
    facts: GuestFacts | None = None

    def mark(self, step: str, **detail: object) -> None:
        """Tell the timeline."""
        self.tools.timeline.mark(self.server.id, step, **detail)

    @property
    def is_micro_guest(self) -> bool:
        """Whether the server runs the guest that reports on its console."""
        return self.server.image is None


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `undo` is None where nothing is made."""

    name: str
    do: Callable[[Job], Awaitable[None]]
    undo: Callable[[Job], Awaitable[None]] | None = None


async def advance(job: Job, steps: Sequence[Step]) -> None:
    """Run the steps in order. If one fails, or the task is cancelled, undo those begun, in reverse, and raise.

    A step that failed may have half happened, so it is undone too.
    """
    begun: list[Step] = []
    try:
        for step in steps:
            begun.append(step)
            await step.do(job)
    except BaseException as error:
        log.info("boot.failed", server=job.server.id, step=begun[-1].name, error=str(error))
        job.mark("failed", at=begun[-1].name, error=str(error))
        job.grace_s = 0.0
        left = await undo(job, begun)
        job.mark("undone", steps=[step.name for step in reversed(begun) if step.undo])
        for message in left:
            error.add_note(f"left behind: {message}")
        raise


async def undo(job: Job, steps: Sequence[Step]) -> list[str]:
    """Undo the steps in reverse, all of them whatever happens; what could not be undone is logged and returned."""
    failures: list[str] = []
    for step in reversed(steps):
        if step.undo is None:
            continue
        try:
            async with asyncio.timeout(UNDO_TIMEOUT_S):
                await step.undo(job)
        except Exception as error:
            unexpected = not isinstance(error, CoveError)
            log.error("boot.undo_failed", server=job.server.id, step=step.name, error=str(error), exc_info=unexpected)
            failures.append(f"{step.name}: {error or type(error).__name__}")
    return failures
