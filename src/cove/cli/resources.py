"""What `cove network`, `cove subnet` and `cove port` share: list, show and delete by name or id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .client import Client
from .output import Format, console, print_list, print_one


def list_resources(
    collection: str,
    columns: Sequence[str],
    format: Format,
    *,
    empty: str,
    network: str | None = None,
    for_people: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Print a Networking collection, or a network's part of it; `for_people` adds short columns to the table's rows."""
    with Client.open() as client:
        network_id = client.find("networks", network)["id"] if network else None
        rows = client.get(f"/v2.0/{collection}", network_id=network_id)[collection]
        print_list(rows if format is Format.JSON else [for_people(row) for row in rows], columns, format, empty=empty)


def show_resource(collection: str, name_or_id: str, format: Format) -> None:
    """Print one object of a Networking collection."""
    with Client.open() as client:
        print_one(client.find(collection, name_or_id), format)


def delete_resources(collection: str, names_or_ids: Sequence[str]) -> None:
    """Delete objects of a Networking collection, and say so for each."""
    with Client.open() as client:
        for name_or_id in names_or_ids:
            found = client.find(collection, name_or_id)
            client.delete(f"/v2.0/{collection}/{found['id']}")
            console.print(f"deleted {collection.removesuffix('s')} {found['name'] or found['id']}", markup=False)
