"""Renders an object's time line: `committed +4 ms · cast +5 ms · host entry +7 ms · ready +8 ms`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .client import Client

SEPARATOR = " · "


def duration(seconds: float) -> str:
    """0.0042 → `4 ms`; 3.14 → `3.1 s`."""
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    return f"{seconds:.1f} s"


def steps_of(client: Client, object_id: str) -> list[dict[str, Any]]:
    """The steps that the server remembers of an object, oldest first."""
    return list(client.get(f"/cove/v1/timelines/{object_id}")["steps"])


def first(steps: Iterable[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The first step of that name."""
    return next((step for step in steps if step["name"] == name), None)


def since(steps: Sequence[dict[str, Any]], names: Iterable[str], origin: float) -> str:
    """The named steps that have happened, each with the time since `origin` (seconds since the epoch)."""
    parts = []
    for name in names:
        step = first(steps, name)
        if step is not None:
            parts.append(f"{name.replace('_', ' ')} +{duration(max(0.0, step['at'] - origin))}")
    return SEPARATOR.join(parts)
