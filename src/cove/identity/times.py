"""Times on the wire: UTC, ISO 8601 with microseconds and a Z. Inside they are seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime


def shown(seconds: float) -> str:
    """As tokens show it: 2026-11-22T10:38:30.000000Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def shown_plain(seconds: float) -> str:
    """As application credentials show it: without the Z."""
    return shown(seconds)[:-1]


def parsed(value: str) -> float:
    """Seconds of an ISO 8601 time; without a zone it is UTC. Raises ValueError, OverflowError."""
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
