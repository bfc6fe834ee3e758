"""Controller: one resource's API, without HTTP. JSON objects in, JSON objects out, errors raised.

    create.start event → attribute table (check, defaults) → core plugin (one transaction) → create.end event → strip

Serves one object (`{"port": {...}}`) or, for create, an atomic bulk (`{"ports": [...]}`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from cove.bus import Bus, BusError
from cove.network import errors
from cove.network.context import RequestContext
from cove.network.plugin import CorePlugin, NewObject
from cove.network.queries import ListQuery
from cove.network.resource import Resource
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

BULK_MAX = 1000
LIMIT_MAX = 10000
LIST_ARGUMENTS = ("fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse")
"""Query arguments of a list request that are no filters."""


@dataclass(slots=True)
class Page:
    """One page of a list: the objects, and the query arguments of its neighbours, where there may be any."""

    items: list[dict[str, Any]]
    next: list[tuple[str, str]] | None = None
    previous: list[tuple[str, str]] | None = None


class Controller:
    """The API of one resource."""

    def __init__(self, resource: Resource, plugin: CorePlugin, bus: Bus, timeline: Timeline) -> None:
        self.resource = resource
        self.table = resource.attributes
        self._plugin = plugin
        self._bus = bus
        self._timeline = timeline

    async def create(self, context: RequestContext, body: Any) -> dict[str, Any]:
        """POST. Raises HTTPBadRequest and the plugin's errors; then nothing has been created."""
        table = self.table
        objects, bulk = self._objects(body)
        await self._emit("create.start", body)
        items = []
        for item in objects:
            values = table.for_create(item, context)
            items.append(NewObject(str(uuid.uuid4()), values, table.given_by_client(item, values)))
        if table.resource == "port":
            for new in items:
                self._timeline.mark(new.id, "requested")
        created = await self._plugin.create(context, table.resource, items)
        await self._emit("create.end", self._wrap([item.whole for item in created], bulk))
        return self._wrap([item.shown for item in created], bulk)

    async def update(
        self, context: RequestContext, item_id: str, body: Any, if_match: Sequence[str] = ()
    ) -> dict[str, Any]:
        """PUT. Raises HTTPBadRequest and the plugin's errors; then nothing has been changed."""
        resource = self.table.resource
        if not isinstance(body, dict) or resource not in body:
            raise errors.HTTPBadRequest(f"the request body has no object {resource!r}")
        changes = self.table.for_update(body[resource])
        await self._emit("update.start", {"id": item_id, resource: body[resource]})
        updated = await self._plugin.update(context, resource, item_id, changes, if_revision=revision_of(if_match))
        await self._emit("update.end", {resource: updated.whole})
        return {resource: updated.shown}

    async def delete(self, context: RequestContext, item_id: str, if_match: Sequence[str] = ()) -> None:
        """DELETE. Raises the plugin's errors."""
        resource = self.table.resource
        await self._emit("delete.start", {f"{resource}_id": item_id})
        gone = await self._plugin.delete(context, resource, item_id, if_revision=revision_of(if_match))
        await self._emit("delete.end", {f"{resource}_id": item_id, resource: gone})

    async def get(
        self, context: RequestContext, item_id: str, arguments: Sequence[tuple[str, str]] = ()
    ) -> dict[str, Any]:
        """GET of one object. Of the query arguments `fields` counts; others must be such as a list takes (Neutron)."""
        if arguments:
            self.table.filters(arguments, LIST_ARGUMENTS, self.resource.filters)
        fields = [value for name, value in arguments if name == "fields" and value]
        return {self.table.resource: await self._plugin.get(context, self.table.resource, item_id, fields)}

    async def find(self, context: RequestContext, arguments: Sequence[tuple[str, str]]) -> Page:
        """GET of the collection. Raises HTTPBadRequest for arguments that make no sense."""
        query, fields = self._query(arguments)
        found = await self._plugin.find(context, self.table.resource, query, fields)
        page = Page(found.items)
        if query.limit is not None:
            kept = [(name, value) for name, value in arguments if name not in ("marker", "page_reverse")]
            # What the database gave, not what the caller may see of it, says whether there is more, and from where on.
            first, last = ([] if marker is None else [("marker", marker)] for marker in (found.first, found.last))
            if found.full or query.page_reverse:
                page.next = [*kept, *last]
            if found.full or not query.page_reverse:
                page.previous = [*kept, *first, ("page_reverse", "True")]
        return page

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

        keys, directions = ([value for value in given(name) if value] for name in ("sort_key", "sort_dir"))
        if len(directions) > len(keys):
            raise errors.HTTPBadRequest("there are more sort_dir than sort_key arguments")
        directions += ["asc"] * (len(keys) - len(directions))
        for key, direction in zip(keys, directions, strict=True):
            attribute = self.table.by_name.get(key)
            if attribute is None or not attribute.sort:
                raise errors.HTTPBadRequest(f"sort_key {key!r} is not an attribute to sort {self.table.collection} by")
            if direction not in ("asc", "desc"):
                raise errors.HTTPBadRequest(f"sort_dir {direction!r} is not asc or desc")
        limit = _limit(given("limit"))
        marker = [value for value in given("marker") if value]
        query = ListQuery(
            filters=self.table.filters(arguments, LIST_ARGUMENTS, self.resource.filters),
            sorts=[(key, direction == "asc") for key, direction in zip(keys, directions, strict=True)],
            limit=limit,
            marker=marker[-1] if marker and limit is not None else None,
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
    number = _number(values[-1])
    if number is None or number < 0:
        raise errors.BadRequest(f"limit {values[-1]!r} is not a number of objects")
    return min(number, LIMIT_MAX) or None


_ENTITY_TAG = re.compile(r'(?:^|(?<=[\s,]))(W/)?"([^"]*)"')


def revision_of(if_match: Sequence[str]) -> int | None:
    """The revision that If-Match headers ask for (extension revision-if-match). Raises BadRequest.

    `revision_number=N` stands alone, or in quotes among entity tags of other kinds, which do not concern us.
    """
    header = ",".join(if_match).strip()
    quoted = _ENTITY_TAG.findall(header)
    wanted = [tag for weak, tag in quoted if not weak] if quoted else [header]
    numbers = [tag.removeprefix("revision_number=") for tag in wanted if tag.startswith("revision_number=")]
    if not numbers:
        return None
    if len(numbers) > 1:
        raise errors.BadRequest("If-Match names more than one revision_number; give one")
    number = _number(numbers[0])
    if number is None:
        raise errors.BadRequest(f"If-Match {header!r} is not of the form revision_number=N")
    return number


def _number(text: str) -> int | None:
    """A whole number in ASCII digits; None for anything else."""
    text = text.strip()
    sign, digits = (text[:1], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if not digits.isascii() or not digits.isdigit():
        return None
    # More digits than anything counts to: as large as it gets, and no work for the parser.
    return int(sign + (digits.lstrip("0")[:18] or "0"))
