"""What `cove network`, `cove subnet` and `cove port` share: show and delete by name or id."""

from __future__ import annotations

from collections.abc import Sequence

from .client import Client
from .output import Format, console, print_one


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
