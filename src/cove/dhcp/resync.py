"""When to try again what went wrong: a delay for each network of its own, that grows while it keeps going wrong.

Pure: `now` (monotonic seconds) is an argument. The agent's resync loop (cove.dhcp.agent) carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass

DELAY_FIRST_S, DELAY_MAX_S = 0.5, 60.0
QUIET_S = 30.0
"""After so long without a further wish, besides the delay itself, a network counts as well again."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    at: float
    delay_s: float


class ResyncSchedule:
    """Keys (a network's id, None for everything) and when each is due."""

    def __init__(self) -> None:
        self._due: dict[str | None, float] = {}
        self._last: dict[str | None, _Attempt] = {}

    def want(self, key: str | None, now: float, *, at_once: bool = False) -> None:
        """Have the key tried again: after its delay, or `at_once`. One that is waiting already keeps its time."""
        if at_once:
            self._due[key] = now
            return
        if key in self._due:
            return
        last = self._last.get(key)
        again = last is not None and now - last.at < last.delay_s + QUIET_S
        delay_s = min(2 * last.delay_s, DELAY_MAX_S) if again and last is not None else DELAY_FIRST_S
        self._due[key] = now + delay_s
        self._last[key] = _Attempt(now + delay_s, delay_s)

    def take(self, now: float) -> list[str | None]:
        """The keys that are due; they are not waiting any more. None, if it is among them, comes first."""
        due = [key for key, at in self._due.items() if at <= now]
        for key in due:
            del self._due[key]
        for key in [key for key, last in self._last.items() if now - last.at > last.delay_s + QUIET_S]:
            if key not in self._due:
                del self._last[key]
        return sorted(due, key=lambda key: key is not None)

    def wait_s(self, now: float) -> float | None:
        """Seconds until something is due; None if nothing waits."""
        return max(0.0, min(self._due.values()) - now) if self._due else None
