"""The monitor's client against a pretended QEMU."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cove.compute.qmp import MonitorError, monitor

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}


class Qemu:
    """Answers `query-status`; what else it does is up to the test."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.mute: set[str] = set()
        self.greets = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(message: object) -> None:
            writer.write(json.dumps(message).encode() + b"\n")

        try:
            if self.greets:
                say(GREETING)
            received = b""
            while data := await reader.read(4096):
                received += data
                try:
                    request = json.loads(received)  # requests come one at a time, without an end of line
                except json.JSONDecodeError:
                    continue
                received = b""
                command = request["execute"]
                same_id = {"id": request["id"]} if "id" in request else {}
                self.commands.append(command)
                if command in self.mute:
                    continue
                if command == "system_powerdown":  # events come between answers
                    say({"event": "POWERDOWN", "timestamp": {"seconds": 1, "microseconds": 0}})
                if command == "cont":
                    say({"error": {"class": "GenericError", "desc": "not now"}, **same_id})
                    continue
                answer = {"status": "running", "running": True} if command == "query-status" else {}
                say({"return": answer, **same_id})
        finally:
            writer.close()


@pytest.fixture
async def qemu(tmp_path: Path) -> AsyncIterator[Qemu]:
    qemu = Qemu()
    server = await asyncio.start_unix_server(qemu.serve, tmp_path / "qmp.sock")
    yield qemu
    server.close()


async def test_requests(qemu: Qemu, tmp_path: Path) -> None:
    async with monitor(tmp_path / "qmp.sock") as qmp:
        assert await qmp.status() == "running"
        await qmp.power_button()
    async with monitor(tmp_path / "qmp.sock") as qmp:
        assert await qmp.status() == "running"
    assert qemu.commands == ["qmp_capabilities", "query-status", "system_powerdown", "qmp_capabilities", "query-status"]


async def test_a_refusal(qemu: Qemu, tmp_path: Path) -> None:
    async with monitor(tmp_path / "qmp.sock") as qmp:
        with pytest.raises(MonitorError, match="cont: not now"):
            await qmp.resume()


async def test_no_answer(qemu: Qemu, tmp_path: Path) -> None:
    qemu.mute.add("query-status")
    async with monitor(tmp_path / "qmp.sock") as qmp:
        with pytest.raises(MonitorError, match="no answer to query-status"):
            await qmp.execute("query-status", timeout_s=0.05)


async def test_a_monitor_that_is_taken(qemu: Qemu, tmp_path: Path) -> None:
    qemu.greets = False
    with pytest.raises(MonitorError, match="one client at a time"):
        async with monitor(tmp_path / "qmp.sock", timeout_s=0.05):
            pass


async def test_no_monitor(tmp_path: Path) -> None:
    with pytest.raises(MonitorError, match=r"none\.sock"):
        async with monitor(tmp_path / "none.sock"):
            pass
