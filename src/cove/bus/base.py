"""What every bus offers: targets, errors and the `Bus` protocol.

The terms are those of oslo.messaging: a *call* waits for a reply, a *cast* does not, a *fanout* reaches every
consumer of a topic. A consumer serves a topic (shared with the other consumers of it), its own queue
`topic.server`, and the topic's fanout.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cove.errors import CoveError

Handler = Callable[..., Awaitable[Any]]
"""A method of an endpoint; called with the message's args as keyword arguments."""

NotificationCallback = Callable[[str, dict[str, Any]], Awaitable[None] | None]
"""Called with the event type ("port.create.start") and the payload."""

CALL_TIMEOUT_S = 60.0
"""How long a call waits for its reply unless told otherwise (oslo.messaging: rpc_response_timeout)."""


class BusError(CoveError):
    """Root of the errors of the bus."""


class BusClosed(BusError):
    """The bus was closed before or while the request was under way."""


class UnsupportedBus(BusError):
    """The URL names a bus that this version does not have."""


class QueueFull(BusError):
    """A queue stayed full for the whole time that a sender waited: its consumer is stuck or gone."""


class CallTimeout(BusError):
    """No reply came within the time of the call. The method may have been run or may still be."""


class RemoteError(BusError):
    """The method ran (or could not be found) on the other side and raised.

    `exc_type` is the class name there ("NetworkNotFound", "NoSuchMethod"), `message` its text.
    """

    def __init__(self, exc_type: str, message: str) -> None:
        super().__init__(f"{exc_type}: {message}")
        self.exc_type = exc_type
        self.message = message


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call or cast goes: to `server`'s own queue if given, else to any one consumer of the topic."""

    topic: str
    server: str | None = None

    def queue_name(self) -> str:
        """The name of the queue, as on RabbitMQ: `topic` or `topic.server`."""
        return self.topic if self.server is None else f"{self.topic}.{self.server}"


class Subscription(Protocol):
    """Something that consumes, until closed."""

    async def close(self) -> None:
        """Stop consuming; handlers that still run are cancelled. May be called again."""


class Bus(Protocol):
    """A message bus. Everything that crosses it is JSON: no object is shared between the two sides."""

    shared: bool
    """Whether it reaches consumers in other processes."""

    def reaches(self, target: Target) -> bool:
        """Whether a cast to `target` (without a server: a fanout to its topic) finds a consumer, as far as it knows."""

    async def start(self) -> None:
        """Connect. Raises BusError if that is impossible."""

    async def close(self) -> None:
        """End every subscription; calls under way raise BusClosed."""

    async def call(
        self,
        target: Target,
        method: str,
        args: dict[str, Any],
        *,
        version: str = "1.0",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        """Run `method` on one consumer and return its result.

        Raises RemoteError, CallTimeout, QueueFull, BusClosed.
        """

    async def cast(self, target: Target, method: str, args: dict[str, Any], *, version: str = "1.0") -> None:
        """Send without a reply; returns once the message is queued. Raises QueueFull, BusClosed.

        A cast to a topic or server that never consumed is dropped, one to a server that did waits for it.
        """

    async def fanout(self, topic: str, method: str, args: dict[str, Any], *, version: str = "1.0") -> None:
        """Send to every present consumer of the topic. Raises QueueFull, BusClosed."""

    async def serve(self, topic: str, server: str, endpoint: Mapping[str, Handler]) -> Subscription:
        """Consume `topic`, `topic.server` and the topic's fanout, running the endpoint's methods.

        Casts of a queue run one after the other, in order of arrival; calls start in that order and may
        overlap.
        """

    async def notify(self, event_type: str, payload: dict[str, Any]) -> None:
        """Publish a notification for whoever listens; a slow listener loses messages, nobody waits for it."""

    def subscribe_notifications(self, callback: NotificationCallback) -> Subscription:
        """Have `callback` called with every notification from now on, in order."""
