"""What the firewall asks the Networking v2.0 API: the rules of groups, and the ports in a group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Protocol

import httpx

from cove.compute.network_api import NetworkApiError

Shown = Mapping[str, Any]
"""An object as the API shows it."""

PAGE = 1000
IDS_A_REQUEST = 40
PAGES_MAX = 1000
REQUEST_TIMEOUT_S = 30.0
PORT_FIELDS = (
    "id",
    "revision_number",
    "fixed_ips",
    "allowed_address_pairs",
    "security_groups",
    "port_security_enabled",
)


class FirewallApi(Protocol):
    """What the firewall needs of the Networking service."""

    async def groups(self, ids: Collection[str]) -> dict[str, Shown]:
        """Security groups with their rules, by id; those that are not there are left out. Raises NetworkApiError."""
        ...

    async def ports(self, ids: Collection[str]) -> dict[str, Shown]:
        """Ports by id; those that are not there are left out. Raises NetworkApiError."""
        ...

    async def members(self, group_id: str) -> list[Shown]:
        """The ports in a group. Raises NetworkApiError."""
        ...

    async def on_network(self, network_id: str) -> list[Shown]:
        """The ports on a network. Raises NetworkApiError."""
        ...


class HttpFirewallApi:
    """The same over HTTP. The client carries base URL (without /v2.0) and an admin's token."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def groups(self, ids: Collection[str]) -> dict[str, Shown]:
        """See FirewallApi.groups."""
        return await self._by_id("security-groups", "security_groups", ids, ("id", "stateful", "security_group_rules"))

    async def ports(self, ids: Collection[str]) -> dict[str, Shown]:
        """See FirewallApi.ports."""
        return await self._by_id("ports", "ports", ids, PORT_FIELDS)

    async def members(self, group_id: str) -> list[Shown]:
        """See FirewallApi.members."""
        return await self._ports_with("security_groups", group_id)

    async def on_network(self, network_id: str) -> list[Shown]:
        """See FirewallApi.on_network."""
        return await self._ports_with("network_id", network_id)

    async def _ports_with(self, attribute: str, value: str) -> list[Shown]:
        arguments = [(attribute, value), *(("fields", name) for name in PORT_FIELDS)]
        return [port async for port in self._pages("ports", "ports", arguments)]

    async def _by_id(self, path: str, key: str, ids: Collection[str], fields: Collection[str]) -> dict[str, Shown]:
        found: dict[str, Shown] = {}
        wanted = sorted(ids)
        for start in range(0, len(wanted), IDS_A_REQUEST):
            arguments = [("id", item_id) for item_id in wanted[start : start + IDS_A_REQUEST]]
            arguments += [("fields", name) for name in fields]
            found |= {item["id"]: item for item in await self._get(path, key, arguments)}
        return found

    async def _pages(self, path: str, key: str, arguments: list[tuple[str, str]]) -> AsyncIterator[Shown]:
        marker: list[tuple[str, str]] = []
        for _ in range(PAGES_MAX):
            page = await self._get(path, key, [*arguments, ("limit", str(PAGE)), *marker])
            for item in page:
                yield item
            if len(page) < PAGE:
                return
            marker = [("marker", page[-1]["id"])]
        raise NetworkApiError(f"GET /v2.0/{path}: more than {PAGES_MAX} pages")

    async def _get(self, path: str, key: str, arguments: list[tuple[str, str]]) -> list[Shown]:
        what = f"GET /v2.0/{path}"
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                response = await self._client.get(f"/v2.0/{path}", params=httpx.QueryParams(tuple(arguments)))
        except TimeoutError:
            raise NetworkApiError(f"{what}: no answer after {REQUEST_TIMEOUT_S:.0f} s") from None
        except httpx.HTTPError as error:
            raise NetworkApiError(f"{what}: {error or type(error).__name__}") from error
        if not response.is_success:
            raise NetworkApiError(
                f"{what}: HTTP {response.status_code}: {response.text[:300]}", status=response.status_code
            )
        try:
            items: list[Shown] = response.json()[key]
        except (ValueError, KeyError, TypeError) as error:
            raise NetworkApiError(f"{what}: the answer makes no sense: {error}") from error
        return items
