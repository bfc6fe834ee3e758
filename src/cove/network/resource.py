"""A resource of the API as one value: its attributes, where it is stored, who sees it, and what can be done with it.

Everything that is alike for all resources is driven by it: the controller, reads with filters, sorting and paging
(`queries`), policy, tags, quotas, the extension list, routes and the OpenAPI document. `registry` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cove.network.attributes import AttributeTable
from cove.network.context import RequestContext
from cove.network.rows import Row
from cove.network.transaction import Reading, Transaction

Object = dict[str, Any]
View = Callable[[Reading, Sequence[Row]], list[Object]]
"""Rows → the objects that the API shows, complete (policy strips them at the edge), in the same order.

What lies in other tables is read for all the rows at once: a fixed number of statements, however many rows.
"""
Create = Callable[[Transaction, str, dict[str, Any]], Object]
"""(transaction, new id, checked attributes) → the object as the API shows it."""
Update = Callable[[Transaction, Row, dict[str, Any]], Object]
"""(transaction, row as it is, checked changes) → the object after them."""
Delete = Callable[[Transaction, Row], Object]
"""(transaction, row) → the object as it was."""
Filters = Mapping[str, Sequence[Any]]
"""Attribute → the values of which an object must have one."""
Scope = Callable[[RequestContext], sa.ColumnElement[bool]]
"""The rows that a caller who is no admin may see at all. Of the caller it looks at the project, and nothing else."""
Filter = Callable[[Reading, Sequence[Any]], sa.ColumnElement[bool]]
"""Rows that match any of the values."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """What must be there before the objects are listed: made in a write transaction, only where it is missing.

    Both functions are given the filters of the list.
    """

    needed: Callable[[Reading, Filters], bool]
    make: Callable[[Transaction, Filters], None]


@dataclass(frozen=True)
class Resource:
    """One kind of object."""

    attributes: AttributeTable
    table: sa.Table
    view: View
    scope: Scope
    scope_parts: Sequence[Scope] = field(default=(), kw_only=True)
    """The scope cut into parts that have nothing in common and that an index holds each, so that a page of a list costs
    what is on it: a database that is asked for "this or that, in order" sorts all there is of both."""
    create: Create | None = None
    update: Update | None = None
    delete: Delete | None = None
    filters: Mapping[str, Filter] = field(default_factory=dict)
    """Attributes whose filter is not just a comparison with their column."""
    parent: tuple[str, str] | None = None
    """(resource, column) of what it belongs to, whose owner has a say: ("network", "network_id") for a port."""
    counted: bool = True
    """Whether there is a quota for it."""
    tagged: bool = False
    prepare: Prepare | None = None

    @property
    def name(self) -> str:
        """Its singular name, such as `port`."""
        return self.attributes.resource

    @property
    def collection(self) -> str:
        """Its plural name, such as `ports`."""
        return self.attributes.collection
