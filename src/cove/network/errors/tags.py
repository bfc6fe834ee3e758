"""Tags."""

from __future__ import annotations

from cove.network.errors.base import NotFound


class TagResourceNotFound(NotFound):
    """Tags of an object that is not there, or not visible to the caller."""

    form = "{resource} {resource_id} could not be found"


class TagNotFound(NotFound):
    """The object does not have the tag."""

    form = "tag {tag!r} could not be found"
