"""The cluster's log: subscriptions, lines, and callbacks that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cove.rados import InvalidArgument, LogLine
from cove.rados.monitor_log import MonitorLog, line_of
from cove.wire.address import EntityAddr
from cove.wire.messages import LogEntry, LogSource, MLog, MMonSubscribe
from cove.wire.types import EntityName, EntityType

from .fake import FSID, eventually, settle
from .mons import Mons, running_mons


def entry(text: str, **changes: Any) -> LogEntry:
    values: dict[str, Any] = {
        "source": LogSource(EntityType.MON, "a"),
        "rank": EntityName(EntityType.MON, 0),
        "addrs": (EntityAddr.parse("v2:127.0.0.1:3300/0"),),
        "stamp_ns": 1_700_000_000_123_456_789,
        "seq": 7,
        "priority": 1,
        "text": text,
        "channel": "cluster",
    }
    return LogEntry(**values | changes)


@pytest.fixture
async def mons() -> AsyncIterator[Mons]:
    async with running_mons("a") as running:
        await running.client.authenticate(5)
        yield running


def test_the_form_of_a_line() -> None:
    line = line_of(entry("hello"))
    assert line == LogLine(
        "cluster", "mon.a", "mon.0 v2:127.0.0.1:3300/0", 1_700_000_000_123_456_789, 7, "[INF]", "hello"
    )
    assert line.line.endswith(" mon.a [INF] hello")
    assert line.line[:4] == "2023"
    assert ".123456" in line.line
    client = entry("x", rank=EntityName(EntityType.CLIENT, -1), addrs=(EntityAddr.parse("any:127.0.0.1:0/5"),))
    assert line_of(client).who == "client.? 127.0.0.1:0/5"
    assert line_of(entry("x", priority=9)).level == "[???]"


async def test_lines_are_passed_on_once(mons: Mons) -> None:
    watch = MonitorLog()
    mons.messenger.add_dispatcher_tail(watch)
    watch.attach(mons.client)
    lines: list[LogLine] = []
    watch.watch("warn", lines.append)
    await settle()
    assert [list(message.what) for message in mons.ours.of_type(MMonSubscribe)][-1] == ["log-warn"]
    mons.ours.tell(MLog(fsid=FSID, entries=[entry("one"), entry("two")], version=5))
    mons.ours.tell(MLog(fsid=FSID, entries=[entry("two")], version=5))
    await settle()
    assert [line.text for line in lines] == ["one", "two"]
    # a new session goes on behind the last version
    lost = mons.connection
    mons.ours.cut()
    await eventually(lambda: mons.client.connection not in (None, lost))
    await settle()
    subscriptions = [message for message in mons.ours.of_type(MMonSubscribe) if "log-warn" in message.what]
    assert subscriptions[-1].what["log-warn"].start == 6
    watch.watch("", None)
    mons.ours.tell(MLog(fsid=FSID, entries=[entry("three")], version=6))
    await settle()
    assert len(lines) == 2
    watch.watch("error", lines.append)
    await settle()
    assert list(mons.ours.of_type(MMonSubscribe)[-1].what) == ["log-error"]


async def test_a_callback_that_fails_does_not_stop_it(mons: Mons) -> None:
    watch, seen = MonitorLog(), list[str]()
    mons.messenger.add_dispatcher_tail(watch)

    def fail(line: LogLine) -> None:
        seen.append(line.text)
        raise RuntimeError(line.text)

    watch.watch("info", fail)
    watch.attach(mons.client)  # wanted before it was connected
    mons.client.renew_subs()
    await settle()
    mons.ours.tell(MLog(fsid=FSID, entries=[entry("one"), entry("two")], version=5))
    await settle()
    assert seen == ["one", "two"]


async def test_a_callback_may_end_it(mons: Mons) -> None:
    watch, seen = MonitorLog(), list[str]()
    mons.messenger.add_dispatcher_tail(watch)
    watch.attach(mons.client)

    def once(line: LogLine) -> None:
        seen.append(line.text)
        watch.watch("info", None)

    watch.watch("info", once)
    mons.ours.tell(MLog(fsid=FSID, entries=[entry("one"), entry("two")], version=5))
    await settle()
    assert seen == ["one"]


def test_what_is_refused() -> None:
    async def wrong(line: LogLine) -> None: ...

    with pytest.raises(InvalidArgument, match="known are debug"):
        MonitorLog().watch("loud", print)
    with pytest.raises(InvalidArgument, match="plain function"):
        MonitorLog().watch("info", wrong)  # type: ignore[arg-type]
