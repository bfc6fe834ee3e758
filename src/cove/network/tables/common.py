"""The attributes that most resources have."""

from __future__ import annotations

import dataclasses
from typing import Any

from cove.network import validators as v
from cove.network.attributes import Attribute

NAME_LENGTH_MAX = 255
PROJECT_LENGTH_MAX = 255
DESCRIPTION_LENGTH_MAX = 255

ID = Attribute("id", v.uuid_text, filter=True, sort=True, primary_key=True)
NAME = Attribute("name", v.name(NAME_LENGTH_MAX), default="", post=True, put=True, filter=True, sort=True)

PROJECT = (
    Attribute(
        "project_id",
        v.text(PROJECT_LENGTH_MAX),
        post=True,
        filter=True,
        sort=True,
        extension="project-id",
    ),
    Attribute(
        "tenant_id",
        v.text(PROJECT_LENGTH_MAX),
        post=True,
        filter=True,
        sort=True,
        column="project_id",
    ),
)
"""One attribute with two names."""

_TAGS = Attribute("tags", v.items, filter=True, column="-", extension="standard-attr-tag")

STANDARD = (
    Attribute(
        "description",
        v.text(DESCRIPTION_LENGTH_MAX, breaks=True),
        default="",
        post=True,
        put=True,
        filter=True,
        sort=True,
        extension="standard-attr-description",
    ),
    _TAGS,
    Attribute("created_at", v.text(20), filter=True, sort=True, extension="standard-attr-timestamp"),
    Attribute("updated_at", v.text(20), filter=True, sort=True, extension="standard-attr-timestamp"),
    Attribute(
        "revision_number",
        v.integer(0, 1 << 62),
        filter=True,
        sort=True,
        extension="standard-attr-revisions",
    ),
)

STANDARD_TAGGED_AT_CREATION = tuple(
    dataclasses.replace(_TAGS, post=True, convert=v.list_of(v.text(255), 50)) if attribute is _TAGS else attribute
    for attribute in STANDARD
)
"""The same, where the tags can be given at creation (extension tag-ports-during-bulk-creation)."""


def boolean(name: str, **more: Any) -> Attribute:
    """An attribute that is true or false, and can be set, changed and filtered by."""
    return Attribute(name, v.boolean, **{"post": True, "put": True, "filter": True, "strict_filter": True, **more})


SHARED = boolean("shared", default=False, column="-")
"""Whether every project may use the object: a view of its RBAC policies."""
