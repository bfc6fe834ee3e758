"""Controller: one resource's API, without HTTP. JSON objects in, JSON objects out, errors raised.

    create.start event → attribute table (check, defaults) → core plugin (one transaction) → create.end event → strip

Serves one object (`{"port": {...}}`) or, for create, an atomic bulk (`{"ports": [...]}`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from cove.bus import Bus, BusError
from cove.network import errors
from cove.network.attributes import AttributeTable
from cove.network.context import RequestContext
from cove.network.plugin import CorePlugin
from cove.network.queries import ListQuery
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

BULK_MAX = 1000
LIMIT_MAX = 10000
LIST_ARGUMENTS = ("fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse")
"""Query arguments of a list request that are no filters."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: the objects, and the query arguments of its neighbours, where there may be any."""

    items: list[dict[str, Any]]
    next: list[tuple[str, str]] | None = None
    previous: list[tuple[str, str]] | None = None


class Controller:
    """The API of one resource."""

    def __init__(self, table: AttributeTable, plugin: CorePlugin, bus: Bus, timeline: Timeline) -> None:
        self.table = table
        self._plugin = plugin
        self._bus = bus
        self._timeline = timeline

    async def create(self, context: RequestContext, body: Any) -> dict[str, Any]:
        """POST. Raises HTTPBadRequest and the plugin's errors; then nothing has been created."""
        table = self.table
        objects, bulk = self._objects(body)
        await self._emit("create.start", body)
        items = [(str(uuid.uuid4()), table.for_create(item, context)) for item in objects]
        if table.resource == "port":
            for port_id, _ in items:
                self._timeline.mark(port_id, "requested")
        created = await self._plugin.create(context, table.resource, items)
        answer = self._wrap(created, bulk)
        await self._emit("create.end", answer)
        return self._wrap([table.strip(item, context) for item in created], bulk)

    async def update(self, context: RequestContext, item_id: str, body: Any) -> dict[str, Any]:
        """PUT. Raises HTTPBadRequest and the plugin's errors; then nothing has been changed."""
        resource = self.table.resource
        if not isinstance(body, dict) or resource not in body:
            raise errors.HTTPBadRequest(f"the request body has no object {resource!r}")
        changes = self.table.for_update(body[resource], context)
        await self._emit("update.start", {"id": item_id, resource: body[resource]})
        updated = await self._plugin.update(context, resource, item_id, changes)
        await self._emit("update.end", {resource: updated})
        return {resource: self.table.strip(updated, context)}

    async def delete(self, context: RequestContext, item_id: str) -> None:
        """DELETE. Raises the plugin's errors."""
        resource = self.table.resource
        await self._emit("delete.start", {f"{resource}_id": item_id})
        gone = await self._plugin.delete(context, resource, item_id)
        await self._emit("delete.end", {f"{resource}_id": item_id, resource: gone})

    async def get(self, context: RequestContext, item_id: str, fields: Iterable[str] = ()) -> dict[str, Any]:
        """GET of one object."""
        item = await self._plugin.get(context, self.table.resource, item_id)
        return {self.table.resource: self.table.strip(item, context, fields)}

    async def find(self, context: RequestContext, arguments: Sequence[tuple[str, str]]) -> Page:
        """GET of the collection. Raises HTTPBadRequest for arguments that make no sense."""
        query, fields = self._query(arguments)
        items = await self._plugin.find(context, self.table.resource, query)
        if query.page_reverse:
            items.reverse()
        page = Page([self.table.strip(item, context, fields) for item in items])
        if query.limit is None or not items:
            return page
        kept = [(name, value) for name, value in arguments if name not in ("marker", "page_reverse")]
        full = len(items) == query.limit
        has_next = full or query.page_reverse
        has_previous = query.marker is not None and (full or not query.page_reverse)
        return Page(
            page.items,
            next=[*kept, ("marker", items[-1]["id"])] if has_next else None,
            previous=[*kept, ("marker", items[0]["id"]), ("page_reverse", "True")] if has_previous else None,
        )

    def _objects(self, body: Any) -> tuple[list[Any], bool]:
        """The objects of a POST, and whether they came as a list."""
        resource, collection = self.table.resource, self.table.collection
        if not isinstance(body, dict) or not body:
            raise errors.HTTPBadRequest(f"the request needs a body: an object with {resource!r} or {collection!r}")
        if collection in body:
            items = body[collection]
            if not isinstance(items, list) or not items:
                raise errors.HTTPBadRequest(f"{collection!r} must be a list with at least one {resource}")
            if len(items) > BULK_MAX:
                raise errors.HTTPBadRequest(f"{collection!r} has {len(items)} objects; at most {BULK_MAX} at once")
            return [item.get(resource, item) if isinstance(item, dict) else item for item in items], True
        if resource not in body:
            raise errors.HTTPBadRequest(f"the request body has no object {resource!r} and no list {collection!r}")
        return [body[resource]], False

    def _wrap(self, items: list[dict[str, Any]], bulk: bool) -> dict[str, Any]:
        return {self.table.collection: items} if bulk else {self.table.resource: items[0]}

    def _query(self, arguments: Sequence[tuple[str, str]]) -> tuple[ListQuery, list[str]]:
        def given(name: str) -> list[str]:
            return [value for key, value in arguments if key == name]

        keys, directions = given("sort_key"), given("sort_dir")
        if len(directions) > len(keys):
            raise errors.HTTPBadRequest("there are more sort_dir than sort_key arguments")
        directions += ["asc"] * (len(keys) - len(directions))
        for key, direction in zip(keys, directions, strict=True):
            attribute = self.table.by_name.get(key)
            if attribute is None or not attribute.sort:
                raise errors.HTTPBadRequest(f"sort_key {key!r} is not an attribute to sort {self.table.collection} by")
            if direction not in ("asc", "desc"):
                raise errors.HTTPBadRequest(f"sort_dir {direction!r} is not asc or desc")
        marker = given("marker")
        query = ListQuery(
            filters=self.table.filters(arguments, LIST_ARGUMENTS),
            sorts=[(key, direction == "asc") for key, direction in zip(keys, directions, strict=True)],
            limit=_limit(given("limit")),
            marker=marker[-1] if marker else None,
            page_reverse=[value.lower() for value in given("page_reverse")[-1:]] == ["true"],
        )
        return query, [name for name in given("fields") if name]

    async def _emit(self, event: str, payload: dict[str, Any]) -> None:
        """Tell the notification bus. What cannot be told does not undo what has been done."""
        try:
            await self._bus.notify(f"{self.table.resource}.{event}", payload)
        except BusError as error:
            log.warning("event not sent", event_type=f"{self.table.resource}.{event}", error=str(error))


def _limit(values: Sequence[str]) -> int | None:
    """The page size; 0 is no limit (Networking v2.0)."""
    if not values:
        return None
    value = values[-1]
    if not value.isascii() or not value.isdigit():
        raise errors.HTTPBadRequest(f"limit {value!r} is not a number of objects")
    significant = value.lstrip("0")[: len(str(LIMIT_MAX)) + 1]  # more digits than that are more than the most, too
    return min(int(significant or 0), LIMIT_MAX) or None
