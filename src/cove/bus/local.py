"""The in-process bus: server and agents are tasks of one event loop.

It behaves as RabbitMQ does for what the callers can see: one queue a topic, one a server and one a fanout
consumer; a known server's queue outlives its consumer; a cast to a queue nobody ever declared is dropped. Every
message is encoded to JSON and decoded again. Every queue is bounded: a sender waits for room, then gets QueueFull.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from cove import tasks
from cove.bus import envelope
from cove.bus.base import (
    CALL_TIMEOUT_S,
    BusClosed,
    BusError,
    CallTimeout,
    Handler,
    NotificationCallback,
    QueueFull,
    RemoteError,
    Subscription,
    Target,
)

log = structlog.get_logger(__name__)

QUEUE_MESSAGES_MAX = 4096
QUEUE_WAIT_S = 30.0
CALLS_RUNNING_MAX = 64


@dataclass(frozen=True, slots=True)
class _Message:
    """A queued request; for calls with the time (monotonic seconds) after which nobody waits for the reply."""

    data: bytes
    expires_at: float | None = None


class LocalBus:
    """A `Bus` within one process. `queue_messages_max` bounds each queue, `queue_wait_s` the wait for room."""

    shared = False

    def __init__(self, *, queue_messages_max: int = QUEUE_MESSAGES_MAX, queue_wait_s: float = QUEUE_WAIT_S) -> None:
        self._queue_messages_max = queue_messages_max
        self._queue_wait_s = queue_wait_s
        self._queues: dict[str, asyncio.Queue[_Message]] = {}
        self._consumers: dict[str, set[_Consumer]] = {}
        self._listeners: set[_Listener] = set()
        self._pending: dict[str, asyncio.Future[bytes]] = {}
        self._closed = False

    async def start(self) -> None:
        """Make the bus usable (again)."""
        self._closed = False

    async def close(self) -> None:
        """End all subscriptions and fail the calls under way with BusClosed."""
        self._closed = True
        for consumers in list(self._consumers.values()):
            for consumer in list(consumers):
                await consumer.close()
        for listener in list(self._listeners):
            await listener.close()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(BusClosed("the bus was closed while a call was under way"))
        self._pending.clear()
        self._queues.clear()

    async def call(
        self,
        target: Target,
        method: str,
        args: dict[str, Any],
        *,
        version: str = "1.0",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        """See Bus.call. A call to a consumer that is yet to come waits for it, within its time."""
        self._check_open()
        msg_id = envelope.new_id()
        data = envelope.encode(envelope.Request(method, args, version, envelope.new_id(), msg_id))
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[msg_id] = future
        try:
            async with asyncio.timeout(timeout_s):
                message = _Message(data, time.monotonic() + timeout_s)
                await self._put(self._declare(target.queue_name()), message, target.queue_name())
                reply = envelope.decode_reply(await future)
        except TimeoutError:
            name = target.queue_name()
            raise CallTimeout(f"no reply to {method} from {name} within {timeout_s:g} s") from None
        finally:
            self._pending.pop(msg_id, None)
        if reply.failure is not None:
            raise RemoteError(reply.failure.class_name, reply.failure.message)
        return reply.result

    async def cast(self, target: Target, method: str, args: dict[str, Any], *, version: str = "1.0") -> None:
        """See Bus.cast."""
        self._check_open()
        data = envelope.encode(envelope.Request(method, args, version, envelope.new_id()))
        queue = self._queues.get(target.queue_name())
        if queue is None:
            log.debug("cast to an unknown queue dropped", queue=target.queue_name(), method=method)
            return
        await self._put(queue, _Message(data), target.queue_name())

    async def fanout(self, topic: str, method: str, args: dict[str, Any], *, version: str = "1.0") -> None:
        """See Bus.fanout."""
        self._check_open()
        message = _Message(envelope.encode(envelope.Request(method, args, version, envelope.new_id())))
        for consumer in list(self._consumers.get(topic, ())):
            await self._put(consumer.fanout_queue, message, f"{topic}_fanout")

    async def serve(self, topic: str, server: str, endpoint: Mapping[str, Handler]) -> Subscription:
        """See Bus.serve."""
        self._check_open()
        shared = self._declare(topic)
        own = self._declare(Target(topic, server).queue_name())
        consumer = _Consumer(self, topic, endpoint, self._new_queue(), [shared, own])
        self._consumers.setdefault(topic, set()).add(consumer)
        return consumer

    async def notify(self, event_type: str, payload: dict[str, Any]) -> None:
        """See Bus.notify."""
        self._check_open()
        if not self._listeners:
            return
        data = envelope.encode(envelope.Notification(event_type, payload))
        for listener in list(self._listeners):
            listener.offer(data)

    def subscribe_notifications(self, callback: NotificationCallback) -> Subscription:
        """See Bus.subscribe_notifications. Needs the running event loop."""
        self._check_open()
        listener = _Listener(self, callback, self._queue_messages_max)
        self._listeners.add(listener)
        return listener

    def reaches(self, target: Target) -> bool:
        """See Bus.reaches. A server that once consumed counts: its queue waits for it."""
        if target.server is None:
            return bool(self._consumers.get(target.topic))
        return target.queue_name() in self._queues

    # -- what consumers use ----------------------------------------------------------------------------------

    def deliver_reply(self, reply: envelope.Reply) -> None:
        """Hand a reply to the call that waits for it, if one still does."""
        future = self._pending.get(reply.msg_id)
        if future is None or future.done():
            return
        try:
            future.set_result(envelope.encode(reply))
        except BusError as error:
            failure = envelope.Failure("BusError", __name__, f"the method's result is not JSON: {error}")
            future.set_result(envelope.encode(envelope.Reply(reply.msg_id, failure=failure)))

    def forget_consumer(self, topic: str, consumer: _Consumer) -> None:
        """Take a closed consumer off the list; its queues stay."""
        self._consumers.get(topic, set()).discard(consumer)

    def forget_listener(self, listener: _Listener) -> None:
        """Take a closed listener off the list."""
        self._listeners.discard(listener)

    # -- own -------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise BusClosed("the bus is closed")

    def _new_queue(self) -> asyncio.Queue[_Message]:
        return asyncio.Queue(self._queue_messages_max)

    def _declare(self, name: str) -> asyncio.Queue[_Message]:
        return self._queues.setdefault(name, self._new_queue())

    async def _put(self, queue: asyncio.Queue[_Message], message: _Message, name: str) -> None:
        try:
            queue.put_nowait(message)
            return
        except asyncio.QueueFull:
            pass
        try:
            async with asyncio.timeout(self._queue_wait_s):
                await queue.put(message)
        except TimeoutError:
            raise QueueFull(
                f"queue {name} has held {self._queue_messages_max} messages for {self._queue_wait_s:g} s: "
                "is its consumer running?"
            ) from None
        self._check_open()


class _Consumer:
    """A server of a topic: one task for each of its queues; casts run in turn, calls beside one another."""

    def __init__(
        self,
        bus: LocalBus,
        topic: str,
        endpoint: Mapping[str, Handler],
        fanout_queue: asyncio.Queue[_Message],
        queues: list[asyncio.Queue[_Message]],
    ) -> None:
        self.fanout_queue = fanout_queue
        self._bus = bus
        self._topic = topic
        self._endpoint = dict(endpoint)
        self._slots = asyncio.Semaphore(CALLS_RUNNING_MAX)
        self._calls: set[asyncio.Task[None]] = set()
        self._tasks = [
            asyncio.create_task(self._consume(queue), name=f"bus consumer {topic}") for queue in [*queues, fanout_queue]
        ]

    async def close(self) -> None:
        """Stop consuming and cancel the handlers that still run."""
        self._bus.forget_consumer(self._topic, self)
        current = asyncio.current_task()
        running = [task for task in [*self._tasks, *self._calls] if task is not current]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)  # handlers may take their time to tidy up

    async def _consume(self, queue: asyncio.Queue[_Message]) -> None:
        while True:
            message = await queue.get()
            if message.expires_at is not None and time.monotonic() >= message.expires_at:
                continue
            try:
                request = envelope.decode_request(message.data)
            except BusError:
                log.exception("a message dropped", topic=self._topic)  # the next one is for somebody else
                continue
            if request.msg_id is None:
                await self._run_cast(request)
                continue
            await self._slots.acquire()
            task = asyncio.create_task(self._run_call(request, request.msg_id), name=f"bus call {request.method}")
            self._calls.add(task)
            task.add_done_callback(self._call_done)

    def _call_done(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._slots.release()

    def _handler(self, method: str) -> Handler:
        handler = self._endpoint.get(method)
        if handler is None:
            raise RemoteError("NoSuchMethod", f"topic {self._topic} has no method {method!r}")
        return handler

    async def _run_cast(self, request: envelope.Request) -> None:
        try:
            await self._handler(request.method)(**request.args)
        except Exception:
            log.exception("a cast failed", topic=self._topic, method=request.method)

    async def _run_call(self, request: envelope.Request, msg_id: str) -> None:
        try:
            result = await self._handler(request.method)(**request.args)
            reply = envelope.Reply(msg_id, result)
        except asyncio.CancelledError:
            failure = envelope.Failure("BusClosed", __name__, f"the server of {self._topic} stopped")
            self._bus.deliver_reply(envelope.Reply(msg_id, failure=failure))
            raise
        except Exception as error:
            if not isinstance(error, BusError):
                log.debug("a call failed", topic=self._topic, method=request.method, error=repr(error))
            reply = envelope.Reply(msg_id, failure=envelope.failure_of(error))
        self._bus.deliver_reply(reply)


class _Listener:
    """A consumer of notifications with a queue of its own; what does not fit in is dropped and counted."""

    def __init__(self, bus: LocalBus, callback: NotificationCallback, messages_max: int) -> None:
        self._bus = bus
        self._callback = callback
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(messages_max)
        self._dropped = 0
        self._task = asyncio.get_running_loop().create_task(self._consume(), name="bus notifications")

    def offer(self, data: bytes) -> None:
        """Queue a notification, or drop it if the listener is too slow."""
        try:
            self._queue.put_nowait(data)
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped == 1 or self._dropped % 1000 == 0:
                log.warning("notification listener too slow: notifications dropped", dropped=self._dropped)

    async def close(self) -> None:
        """Stop listening."""
        self._bus.forget_listener(self)
        await tasks.end([self._task])

    async def _consume(self) -> None:
        while True:
            data = await self._queue.get()
            try:
                notification = envelope.decode_notification(data)
            except BusError:
                log.exception("a notification dropped")
                continue
            try:
                outcome = self._callback(notification.event_type, notification.payload)
                if inspect.isawaitable(outcome):
                    await outcome
            except Exception:
                log.exception("a notification listener failed", event_type=notification.event_type)
