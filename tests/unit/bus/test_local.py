"""The in-process bus: delivery, order, bounds, errors."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cove.bus import (
    BusClosed,
    BusError,
    CallTimeout,
    LocalBus,
    QueueFull,
    RemoteError,
    Target,
    UnsupportedBus,
    connect,
    envelope,
)


@pytest.fixture
async def bus():
    bus = LocalBus(queue_messages_max=8, queue_wait_s=0.05)
    await bus.start()
    yield bus
    await bus.close()


class Recorder:
    """An endpoint that keeps what it gets and wakes whoever waits for a number of messages."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self._changed = asyncio.Condition()

    async def note(self, value: Any) -> None:
        async with self._changed:
            self.got.append(value)
            self._changed.notify_all()

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: len(self.got) >= count)
        return self.got


async def test_call_returns_the_result(bus):
    async def add(left: int, right: int) -> int:
        return left + right

    await bus.serve("q-plugin", "here", {"add": add})
    assert await bus.call(Target("q-plugin"), "add", {"left": 2, "right": 3}) == 5
    assert await bus.call(Target("q-plugin", "here"), "add", {"left": 2, "right": 4}) == 6


async def test_no_object_is_shared(bus):
    seen: list[Any] = []

    async def keep(port: dict[str, Any]) -> dict[str, Any]:
        seen.append(port)
        return port

    await bus.serve("t", "s", {"keep": keep})
    port = {"id": "a", "fixed_ips": [{"ip_address": "1.1.1.10"}]}
    answer = await bus.call(Target("t"), "keep", {"port": port})
    assert answer == port
    assert answer is not port
    assert seen[0] is not port
    assert seen[0] is not answer


async def test_remote_error_carries_class_and_text(bus):
    class NetworkNotFound(Exception):
        pass

    async def fail() -> None:
        raise NetworkNotFound("network 42")

    await bus.serve("t", "s", {"fail": fail})
    with pytest.raises(RemoteError) as caught:
        await bus.call(Target("t"), "fail", {})
    assert caught.value.exc_type == "NetworkNotFound"
    assert caught.value.message == "network 42"


async def test_a_remote_error_passes_through_under_its_own_type(bus):
    async def inner() -> None:
        raise RemoteError("IpAddressGenerationFailure", "none left")

    await bus.serve("t", "s", {"inner": inner})
    with pytest.raises(RemoteError) as caught:
        await bus.call(Target("t"), "inner", {})
    assert caught.value.exc_type == "IpAddressGenerationFailure"


async def test_unknown_method_and_wrong_arguments(bus):
    async def one(value: int) -> int:
        return value

    await bus.serve("t", "s", {"one": one})
    with pytest.raises(RemoteError) as caught:
        await bus.call(Target("t"), "two", {})
    assert caught.value.exc_type == "NoSuchMethod"
    with pytest.raises(RemoteError) as caught:
        await bus.call(Target("t"), "one", {"other": 1})
    assert caught.value.exc_type == "TypeError"


async def test_what_is_not_json_is_refused_on_both_ways(bus):
    async def bad() -> Any:
        return object()

    await bus.serve("t", "s", {"bad": bad})
    with pytest.raises(BusError, match="JSON"):
        await bus.cast(Target("t"), "bad", {"value": object()})
    with pytest.raises(RemoteError, match="not JSON"):
        await bus.call(Target("t"), "bad", {})


async def test_call_times_out_and_its_message_is_not_run_later(bus):
    with pytest.raises(CallTimeout, match=r"q-plugin.*0\.02 s"):
        await bus.call(Target("q-plugin"), "late", {"value": 1}, timeout_s=0.02)
    recorder = Recorder()
    await bus.serve("q-plugin", "s", {"late": recorder.note})
    await bus.call(Target("q-plugin"), "late", {"value": 2})
    assert recorder.got == [2]


async def test_a_call_waits_for_a_server_that_comes_later(bus):
    async def ping() -> str:
        return "pong"

    call = asyncio.ensure_future(bus.call(Target("q-plugin"), "ping", {}, timeout_s=5))
    await asyncio.sleep(0)
    await bus.serve("q-plugin", "s", {"ping": ping})
    assert await call == "pong"


async def test_casts_keep_their_order(bus):
    recorder = Recorder()

    async def uneven(value: int) -> None:
        if value % 3 == 0:
            await asyncio.sleep(0.001)
        await recorder.note(value)

    await bus.serve("dhcp_agent", "host", {"uneven": uneven})
    for value in range(50):
        await bus.cast(Target("dhcp_agent", "host"), "uneven", {"value": value})
    assert await recorder.until(50) == list(range(50))


async def test_a_failing_cast_does_not_stop_the_queue(bus):
    recorder = Recorder()

    async def fail() -> None:
        raise ValueError("no")

    await bus.serve("t", "s", {"fail": fail, "note": recorder.note})
    await bus.cast(Target("t", "s"), "fail", {})
    await bus.cast(Target("t", "s"), "no_such_method", {})
    await bus.cast(Target("t", "s"), "note", {"value": 1})
    assert await recorder.until(1) == [1]


async def test_cast_to_the_topic_reaches_one_and_to_a_server_that_one(bus):
    first, second = Recorder(), Recorder()
    await bus.serve("t", "one", {"note": first.note})
    await bus.serve("t", "two", {"note": second.note})
    for value in range(6):
        await bus.cast(Target("t"), "note", {"value": value})
    await bus.cast(Target("t", "two"), "note", {"value": "own"})
    await second.until(1)
    async with asyncio.timeout(5):
        while len(first.got) + len(second.got) < 7:
            await asyncio.sleep(0)
    assert sorted(map(str, first.got + second.got)) == ["0", "1", "2", "3", "4", "5", "own"]
    assert "own" in second.got


async def test_fanout_reaches_every_present_consumer(bus):
    first, second = Recorder(), Recorder()
    await bus.serve("t", "one", {"note": first.note})
    gone = await bus.serve("t", "two", {"note": second.note})
    await bus.fanout("t", "note", {"value": 1})
    assert await first.until(1) == [1]
    assert await second.until(1) == [1]
    await gone.close()
    await bus.fanout("t", "note", {"value": 2})
    assert await first.until(2) == [1, 2]
    assert second.got == [1]


async def test_cast_to_an_unknown_server_is_dropped_to_a_known_one_waits(bus):
    recorder = Recorder()
    await bus.cast(Target("t", "s"), "note", {"value": "lost"})
    subscription = await bus.serve("t", "s", {"note": recorder.note})
    await subscription.close()
    await bus.cast(Target("t", "s"), "note", {"value": "kept"})
    await bus.serve("t", "s", {"note": recorder.note})
    assert await recorder.until(1) == ["kept"]


async def test_a_full_queue_makes_the_sender_wait_then_fail(bus):
    release = asyncio.Event()
    recorder = Recorder()

    async def stuck(value: int) -> None:
        await release.wait()
        await recorder.note(value)

    await bus.serve("t", "s", {"stuck": stuck})
    sent = 9  # eight in the queue, one in hand
    for value in range(sent):
        await bus.cast(Target("t", "s"), "stuck", {"value": value})
    with pytest.raises(QueueFull, match=r"t\.s"):
        await bus.cast(Target("t", "s"), "stuck", {"value": sent})
    release.set()
    await bus.cast(Target("t", "s"), "stuck", {"value": 99})  # there is room again
    assert await recorder.until(sent + 1) == [*range(sent), 99]


async def test_calls_overlap_so_that_one_cannot_block_another(bus):
    release = asyncio.Event()

    async def slow() -> str:
        await release.wait()
        return "slow"

    async def quick() -> str:
        return "quick"

    await bus.serve("t", "s", {"slow": slow, "quick": quick})
    waiting = asyncio.ensure_future(bus.call(Target("t"), "slow", {}))
    assert await bus.call(Target("t"), "quick", {}, timeout_s=5) == "quick"
    release.set()
    assert await waiting == "slow"


async def test_close_fails_calls_under_way_and_later_ones(bus):
    entered = asyncio.Event()

    async def forever() -> None:
        entered.set()
        await asyncio.Event().wait()

    await bus.serve("t", "s", {"forever": forever})
    call = asyncio.ensure_future(bus.call(Target("t"), "forever", {}))
    await entered.wait()
    await bus.close()
    with pytest.raises((BusClosed, RemoteError)):
        await call
    with pytest.raises(BusClosed):
        await bus.cast(Target("t"), "forever", {})


async def test_notifications_reach_sync_and_async_listeners_in_order(bus):
    plain: list[tuple[str, dict[str, Any]]] = []
    recorder = Recorder()

    async def listen(event_type: str, payload: dict[str, Any]) -> None:
        await recorder.note((event_type, payload["n"]))

    bus.subscribe_notifications(lambda event_type, payload: plain.append((event_type, payload)))
    subscription = bus.subscribe_notifications(listen)
    await bus.notify("port.create.start", {"n": 1})
    await bus.notify("port.create.end", {"n": 2})
    assert await recorder.until(2) == [("port.create.start", 1), ("port.create.end", 2)]
    assert [event for event, _ in plain] == ["port.create.start", "port.create.end"]
    await subscription.close()
    await bus.notify("port.delete.end", {"n": 3})
    assert len(recorder.got) == 2


async def test_a_slow_listener_loses_notifications_but_delays_nobody(bus):
    release = asyncio.Event()
    recorder = Recorder()

    async def slow(event_type: str, payload: dict[str, Any]) -> None:
        await release.wait()
        await recorder.note(payload["n"])

    bus.subscribe_notifications(slow)
    for n in range(100):
        await bus.notify("e", {"n": n})
    release.set()
    got = await recorder.until(8)
    assert got == list(range(len(got)))
    assert len(got) < 100


@pytest.mark.parametrize("url", ["rabbit://guest@localhost", "amqp://x", "nonsense", "http://x"])
def test_unknown_buses_are_refused_clearly(url):
    with pytest.raises(UnsupportedBus, match="bus_url"):
        connect(url)


def test_connect_local():
    assert isinstance(connect("local://"), LocalBus)


async def test_a_message_that_cannot_be_decoded_does_not_end_the_consumer(bus, monkeypatch):
    recorder = Recorder()
    await bus.serve("t", "s", {"note": recorder.note})
    decode = envelope.decode_request
    broken = [BusError("malformed"), None]

    def decode_request(data: bytes) -> Any:
        if (error := broken.pop(0) if broken else None) is not None:
            raise error
        return decode(data)

    monkeypatch.setattr(envelope, "decode_request", decode_request)
    await bus.cast(Target("t", "s"), "note", {"value": 1})
    await bus.cast(Target("t", "s"), "note", {"value": 2})
    await recorder.until(1)
    assert recorder.got == [2]


def test_what_is_nested_too_deep_is_a_bus_error():
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(BusError):
        envelope.encode(envelope.Request("m", {"value": value}, "1.0", "id"))
    with pytest.raises(BusError):
        envelope.decode_request(b'{"method":"m","version":"1.0","_unique_id":"x","args":{"a":' + b"[" * 5000)
