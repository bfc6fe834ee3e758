"""Whatever a client sends, the answer is of the 200s or 400s, and what is kept can be shown again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.network.registry import RESOURCES
from cove.network.resource import Resource
from tests.unit.network.callers import networking_app
from tests.unit.network.fakes import cloud

HOSTILE: list[Any] = [
    None,
    True,
    0,
    -1,
    1 << 63,
    10**40,
    1.5,
    float("inf"),
    "",
    "x",
    "a\0b",
    "\ud800",
    "x" * 5000,
    "9" * 5000,
    "١٢",
    "'; --",
    "10.0.0.1",
    "fe80::1%eth0",
    [],
    [None],
    [[]],
    [{}],
    ["\ud800"],
    ["x"] * 300,
    [1 << 70],
    {},
    {"": ""},
    {"\ud800": 1},
    {"a": {"b": [1]}},
    [{"ip_address": "\0"}],
    [{"start": "\ud800", "end": 1}],
]
QUERIES = [
    "",
    "x",
    "\0",
    "9" * 400,
    "-1",
    "a,b",
    "'",
    "ip_address=\0",
    "subnet_id=",
    "ip_address_substr=%",
    "\U0001f4a5",
]

MINIMAL: dict[str, dict[str, Any]] = {
    "network": {},
    "subnet": {"network_id": "NETWORK", "ip_version": 4, "cidr": "10.1.0.0/24"},
    "port": {"network_id": "NETWORK", "fixed_ips": []},
    "subnetpool": {"name": "p", "prefixes": ["10.8.0.0/16"]},
    "address_scope": {"name": "s", "ip_version": 4},
    "security_group": {"name": "g"},
    "security_group_rule": {"security_group_id": "GROUP", "direction": "ingress"},
    "default_security_group_rule": {"direction": "ingress"},
    "rbac_policy": {
        "object_type": "network",
        "object_id": "NETWORK",
        "action": "access_as_shared",
        "target_tenant": "t",
    },
    "agent": {},
}


class World:
    """A service with one object of each kind, asked without an event loop in sight."""

    def __init__(self, directory: Path) -> None:
        self._runner = asyncio.Runner()
        unlimited = dict.fromkeys(
            ("network", "subnet", "port", "subnetpool", "security_group", "security_group_rule", "rbac_policy"), -1
        )
        self._cloud = cloud(directory, quotas=unlimited)
        made = self.run(self._cloud.__aenter__())
        self.run(made.report())
        transport = httpx.ASGITransport(app=networking_app(made), raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://cove.test")
        self.known = {"NETWORK": self.run(made.network())["id"]}
        self.run(made.subnet({"id": self.known["NETWORK"]}))
        self.known["GROUP"] = self.run(made.create("security_group", name="g"))["id"]

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def ask(self, method: str, path: str, body: Any = None, params: Any = None, who: str = "admin") -> httpx.Response:
        """A request that must not be the server's fault."""
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = self._client.request(
            method, f"/v2.0/{path}", content=content, params=params, headers={"X-Auth-Token": who}
        )
        answer: httpx.Response = self.run(request)
        assert answer.status_code < 500, (method, path, body, params)
        return answer

    def minimal(self, name: str) -> dict[str, Any]:
        return {
            key: self.known.get(value, value) if isinstance(value, str) else value
            for key, value in MINIMAL[name].items()
        }

    def target(self, resource: Resource) -> str:
        """An object of the resource to change."""
        path = path_of(resource)
        found = self.ask("GET", path).json()[resource.collection]
        if not found and resource.create is not None:
            found = [self.ask("POST", path, {resource.name: self.minimal(resource.name)}).json()[resource.name]]
        return f"{path}/{found[0]['id']}"

    def close(self) -> None:
        self.run(self._client.aclose())
        self.run(self._cloud.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.close()


def path_of(resource: Resource) -> str:
    return resource.collection.replace("_", "-")


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource.name)
def test_hostile_values_in_every_attribute(world: World, resource: Resource) -> None:
    name, path, target = resource.name, path_of(resource), world.target(resource)
    for attribute in resource.attributes.attributes:
        for value in HOSTILE:
            if resource.create is not None:
                answer = world.ask("POST", path, {name: {**world.minimal(name), attribute.name: value}})
                if answer.status_code == 201:
                    world.ask("DELETE", f"{path}/{answer.json()[name]['id']}")
            if resource.update is not None:
                world.ask("PUT", target, {name: {attribute.name: value}})
    assert world.ask("GET", path).status_code == 200


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource.name)
def test_hostile_queries(world: World, resource: Resource) -> None:
    for attribute in resource.attributes.attributes:
        for value in QUERIES:
            for who in ("admin", "member"):
                world.ask("GET", path_of(resource), params=[(attribute.name, value), (attribute.name, "y")], who=who)
            sorting = [("sort_key", attribute.name), ("sort_dir", "desc"), ("limit", "1"), ("marker", value)]
            world.ask("GET", path_of(resource), params=sorting)
    for name in (
        "limit",
        "marker",
        "page_reverse",
        "fields",
        "sort_key",
        "sort_dir",
        "tags",
        "not-tags",
        "changed_since",
    ):
        for value in QUERIES:
            world.ask("GET", path_of(resource), params=[(name, value)])


RAW = [
    b"null",
    b"1e999",
    b"-",
    b"{" * 100,
    b"[" * 50_000,
    b'{"a":' * 40 + b"1" + b"}" * 40,
    b"\xef\xbb\xbf{}",
    b'{"NAME": {"name": "\\ud800"}}',
    b'{"NAME": {"\\ud800": 1}}',
    b'{"NAME": {}} x',
    b'{"NAME": {}, "NAME": {}}',
    b'{"NAME": {"NAME": {}}}',
    b'{"COLLECTION": [[]]}',
    b'{"COLLECTION": [{"NAME": []}]}',
    b'{"COLLECTION": {"0": {}}}',
]


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource.name)
def test_hostile_bodies(world: World, resource: Resource) -> None:
    target = world.target(resource)
    for raw in RAW:
        body = raw.replace(b"NAME", resource.name.encode()).replace(b"COLLECTION", resource.collection.encode())
        for method, path in (("POST", path_of(resource)), ("PUT", target)):
            answer = world.ask(method, path, body)
            assert answer.status_code < 300 or answer.json()["NeutronError"]["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_values_together(world: World, data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from([resource for resource in RESOURCES.values() if resource.create]))
    names = [attribute.name for attribute in resource.attributes.attributes if attribute.post]
    values = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=4))
    answer = world.ask("POST", path_of(resource), {resource.name: {**world.minimal(resource.name), **values}})
    if answer.status_code == 201:
        made = f"{path_of(resource)}/{answer.json()[resource.name]['id']}"
        assert world.ask("GET", made).json() == answer.json()
        assert world.ask("DELETE", made).status_code == 204
