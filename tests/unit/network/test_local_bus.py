"""The service with the in-process bus and an agent that does nothing but answer: the whole way of a port."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from cove.bus import LocalBus, Target
from cove.config import Settings
from cove.db import Database
from cove.network import NetworkService, RequestContext
from cove.timeline import Timeline
from tests.unit.network.fakes import HOST, new_database

METHODS = ("network_create_end", "subnet_create_end", "port_create_end")


async def test_from_request_to_ready(tmp_path: Path) -> None:
    new_database(tmp_path)
    settings = Settings(state_dir=tmp_path, run_dir=tmp_path, host=HOST)
    db, bus, timeline = Database(settings.database_url), LocalBus(), Timeline()
    await db.start()
    await bus.start()
    service = NetworkService(db, bus, timeline, settings)
    await service.start()
    heard: list[str] = []

    def handler(method: str) -> Any:
        async def handle(payload: dict[str, Any]) -> None:
            heard.append(method)
            if method == "port_create_end":
                args = {"port_ids": [payload["port"]["id"]]}
                await bus.call(Target("q-plugin"), "dhcp_ready_on_ports", args, version="1.5")

        return handle

    try:
        await bus.serve("dhcp_agent", HOST, {method: handler(method) for method in METHODS})
        args: dict[str, Any] = {"host": HOST, "enable_dhcp_filter": False}
        assert await bus.call(Target("q-plugin"), "get_active_networks_info", args, version="1.1") == []
        context, create = RequestContext(), service.controllers
        network = (await create["network"].create(context, {"network": {}}))["network"]
        subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "192.0.2.0/24"}
        await create["subnet"].create(context, {"subnet": subnet})
        made = await asyncio.gather(
            *(create["port"].create(context, {"port": {"network_id": network["id"]}}) for _ in range(20))
        )
        for answer in made:
            port_id = answer["port"]["id"]
            await timeline.wait(port_id, "ready", 10)
            assert (await create["port"].get(context, port_id))["port"]["status"] == "ACTIVE"
            steps = timeline.steps(port_id)
            assert [step.name for step in steps] == ["requested", "committed", "cast", "ready"]
            assert [step.at for step in steps] == sorted(step.at for step in steps)
        assert heard == ["network_create_end", "subnet_create_end", *["port_create_end"] * 20]
    finally:
        await service.stop()
        await bus.close()
        await db.close()
