"""A service daemon: what it tells the manager, when, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cove.messenger import Connection
from cove.rados import InvalidArgument, NotConnected, ObjectExists
from cove.rados import service_daemon as module
from cove.rados.service_daemon import ServiceDaemonReports, host_facts
from cove.wire.messages import Message, MMgrClose, MMgrConfigure, MMgrMap, MMgrOpen, MMgrReport, MMonSubscribe
from cove.wire.mgrmap import encode_mgrmap

from .fake import eventually
from .mons import ScriptedMgr, running_mons


class Wire(Connection):
    """Records what is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    @property
    def is_connected(self) -> bool:
        return True

    def send_message(self, message: Message) -> None:
        self.sent.append(message)

    def mark_down(self) -> None:
        pass


class Clock:
    """Timers that the test lets expire."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[float, Callable[[], object]]] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self.call_later)

    def call_later(self, delay_s: float, call: Callable[[], object], *_: Any, **__: Any) -> asyncio.Handle:
        self.calls.append((delay_s, call))
        return asyncio.Handle(lambda: None, (), asyncio.get_running_loop())

    def expire(self) -> float:
        delay_s, call = self.calls.pop()
        call()
        return delay_s


@pytest.fixture
def reports() -> ServiceDaemonReports:
    found = ServiceDaemonReports()
    found.register("gateway", "one", {"a": "b"})
    return found


async def test_open_reports_and_status(reports: ServiceDaemonReports, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, wire = Clock(monkeypatch), Wire()
    reports.session_up(wire)
    [opened] = wire.sent
    assert isinstance(opened, MMgrOpen)
    assert (opened.service_name, opened.daemon_name) == ("gateway", "one")
    assert opened.service is not None
    assert opened.service.metadata["a"] == "b"
    assert "hostname" in opened.service.metadata
    assert not clock.calls, "nothing is reported before the manager says how often"
    reports.update({"up": "yes"})
    reports.configure(MMgrConfigure(period=7))
    assert [message.daemon_status for message in wire.sent if isinstance(message, MMgrReport)] == [{"up": "yes"}]
    assert clock.expire() == 7
    reports.update({"up": "no"})
    reports.configure(MMgrConfigure(period=3))  # from the next report on
    assert clock.expire() == 7
    assert clock.expire() == 3
    statuses = [message.daemon_status for message in wire.sent if isinstance(message, MMgrReport)]
    assert statuses == [{"up": "yes"}, None, {"up": "no"}, None]
    # another manager is told everything
    reports.session_down()
    other = Wire()
    reports.session_up(other)
    assert not [message for message in other.sent if isinstance(message, MMgrReport)]
    reports.configure(MMgrConfigure(period=5))
    assert [type(message) for message in other.sent] == [MMgrOpen, MMgrReport]
    assert isinstance(other.sent[1], MMgrReport)
    assert other.sent[1].daemon_status == {"up": "no"}
    reports.configure(MMgrConfigure(period=0))
    before = len(other.sent)
    clock.expire()
    assert len(other.sent) == before, "period 0 ends the reports"


async def test_one_report_a_period(reports: ServiceDaemonReports, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[asyncio.TimerHandle] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def kept(*arguments: Any, **settings: Any) -> asyncio.TimerHandle:
        timers.append(call_later(*arguments, **settings))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", kept)
    reports.session_up(Wire())
    for period in (7, 0, 5, 0, 5):
        reports.configure(MMgrConfigure(period=period))
    assert len([timer for timer in timers if not timer.cancelled()]) == 1
    reports.session_down()
    assert all(timer.cancelled() for timer in timers)


async def test_nothing_is_reported_after_the_good_bye(reports: ServiceDaemonReports) -> None:
    wire = Wire()
    reports.session_up(wire)
    leaving = asyncio.ensure_future(reports.unregister())
    await asyncio.sleep(0)
    reports.configure(MMgrConfigure(period=5))  # it was on its way
    reports.handle_close()
    await leaving
    assert [type(message) for message in wire.sent] == [MMgrOpen, MMgrClose]


async def test_the_good_bye_does_not_wait_for_long(
    reports: ServiceDaemonReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reports.unregister()  # nobody knows us yet
    wire = Wire()
    reports.session_up(wire)
    leaving = asyncio.ensure_future(reports.unregister())
    await asyncio.sleep(0)
    assert wire.sent[-1] == MMgrClose(daemon_name="one", service_name="gateway")
    reports.handle_close()
    await leaving
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 0.01)
    await reports.unregister()
    leaving = asyncio.ensure_future(reports.unregister())
    await asyncio.sleep(0)
    reports.session_down()
    await leaving


def test_what_is_refused(reports: ServiceDaemonReports) -> None:
    with pytest.raises(ObjectExists, match=r"gateway\.one already"):
        reports.register("other", "two", {})
    fresh = ServiceDaemonReports()
    with pytest.raises(NotConnected):
        fresh.update({})
    for service in ("osd", "mon", "mgr", "mds", "client"):
        with pytest.raises(InvalidArgument, match="Ceph's own"):
            fresh.register(service, "x", {})
    for service, daemon in (("", "x"), ("x", ""), ("x", "y\0"), ("x", "\udfff"), ("x" * 300, "y")):
        with pytest.raises(InvalidArgument):
            fresh.register(service, daemon, {})
    bad: list[dict[Any, Any]] = [
        {"a": 1},
        {"a": "\0"},
        {"a": "x" * 70000},
        {"\udfff": "x"},
        {"a": "\udfff"},
        {str(n): "" for n in range(2000)},
    ]
    for metadata in bad:
        with pytest.raises(InvalidArgument):
            fresh.register("gateway", "one", metadata)
        assert not fresh.is_registered
    assert all(value for value in host_facts().values())


async def test_a_manager_is_looked_for_only_because_of_the_daemon() -> None:
    async with running_mons("a") as mons:
        await mons.client.authenticate(5)
        mgr = ReportingMgr(mons.network, "x", 6900)
        mons.ours.mgrmap = mgr.active(1)
        mons.mgrclient.start()
        assert not any("mgrmap" in message.what for message in mons.ours.of_type(MMonSubscribe))
        mons.mgrclient.service_daemon.register("gateway", "one", {})
        mons.mgrclient.start()
        await eventually(lambda: MMgrReport in mgr.types)
        assert mgr.types == [MMgrOpen, MMgrReport]
        other = ReportingMgr(mons.network, "y", 6901)
        mons.ours.tell(MMgrMap(mgrmap=encode_mgrmap(other.active(2))))
        await eventually(lambda: MMgrReport in other.types)
        await mons.mgrclient.service_daemon.unregister()
        assert other.types[-1] is MMgrClose
        for messenger in (mgr.messenger, other.messenger):
            await messenger.shutdown()


class ReportingMgr(ScriptedMgr):
    """A manager that wants a report each hour."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.types: list[type[Message]] = []

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        self.types.append(type(message))
        if isinstance(message, MMgrOpen):
            connection.send_message(MMgrConfigure(period=3600))
        elif isinstance(message, MMgrClose):
            connection.send_message(message)
        return True
