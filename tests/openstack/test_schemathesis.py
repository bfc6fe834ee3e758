"""schemathesis, as an admin and as a member, on what the OpenAPI document says: whatever it sends, nothing is a 5xx.

Answers must also be what the document says they are. The seed is fixed, so that a failure can be had again.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from tests.unit.network.callers import MINE, THEIRS, Api, networking_api, networking_app
from tests.unit.network.fakes import cloud

PEERS = Path(__file__).resolve().parents[2] / ".venv-openstack" / "bin"
SCHEMATHESIS = PEERS / "schemathesis"
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
RUN_TIMEOUT_S = 150
OBJECTS = 8
EXAMPLES_MAX = 6
SEED = 20_260_212

pytestmark = pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="./run-tests openstack makes .venv-openstack")


Ids = dict[str, list[str]]


async def ids_of(api: Api) -> Ids:
    """Some objects of each kind: ids by the name of their collection and of the attributes that refer to them."""
    ids: Ids = {}

    def note(item: dict[str, Any], *names: str) -> str:
        for name in names:
            ids.setdefault(name, []).append(item["id"])
        return str(item["id"])

    for number in range(OBJECTS):
        network_id = note(await api.create("member", "network"), "networks", "network_id", "object_id")
        subnet = {"network_id": network_id, "ip_version": 4, "cidr": f"192.0.{number}.0/24"}
        note(await api.create("member", "subnet", **subnet), "subnets", "subnet_id")
        note(await api.create("member", "port", network_id=network_id), "ports", "port_id")
        scope = await api.create("member", "address_scope", ip_version=4)
        note(scope, "address-scopes", "address_scope_id")
        pool = {"name": "pool", "prefixes": [f"10.{number}.0.0/16"]}
        note(await api.create("member", "subnetpool", **pool), "subnetpools", "subnetpool_id")
        group = await api.create("member", "security_group", name="group")
        note(group, "security-groups", "security_group_id", "remote_group_id")
        rule = {
            "security_group_id": group["id"],
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": number + 1,
        }
        rule["port_range_max"] = rule["port_range_min"]
        note(await api.create("member", "security_group_rule", **rule), "security-group-rules")
        shared = {"object_type": "network", "object_id": network_id, "action": "access_as_shared"}
        note(await api.create("member", "rbac_policy", **shared, target_tenant="f" * 32), "rbac-policies")
    for agent in (await api.get("admin", "/agents"))["agents"]:
        note(agent, "agents", "agent_id")
    return {**ids, "project": [MINE, THEIRS], "project_id": [MINE, THEIRS], "tenant_id": [MINE, THEIRS]}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, Ids]]:
    """A server of the Networking API on a port of its own; a caller's name is its token."""
    async with cloud(tmp_path, quotas={"security_group": -1}) as made:
        for number in range(OBJECTS):
            await made.report(f"node{number}")
        async with networking_api(made) as api:
            ids = await ids_of(api)
        app = networking_app(made)
        # Said to be TCP, so that asyncio switches Nagle's algorithm off: it costs 40 ms a request.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
            task = asyncio.create_task(server.serve(sockets=[listener]))
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx.AsyncClient() as client:
                (await client.get(f"{base}/v2.0/openapi.json", headers={"X-Auth-Token": "admin"})).raise_for_status()
            yield base, ids
            server.should_exit = True
            await asyncio.wait_for(task, 30)


@pytest.mark.parametrize("who", ["admin", "member"])
async def test_nothing_is_a_server_error(server: tuple[str, Ids], tmp_path: Path, who: str) -> None:
    url, ids = server
    process = await asyncio.create_subprocess_exec(
        str(SCHEMATHESIS),
        "run",
        f"{url}/v2.0/openapi.json",
        "--header",
        f"X-Auth-Token: {who}",
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples",
        str(EXAMPLES_MAX),
        "--phases",
        "coverage,fuzzing",
        "--seed",
        str(SEED),
        "--no-shrink",
        "--request-timeout",
        "20",
        "--no-color",
        "--continue-on-failure",
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), "COVE_IDS": json.dumps(ids)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), RUN_TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    assert process.returncode == 0, text[-20_000:]
