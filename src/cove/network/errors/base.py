"""The root of the errors, the classes that give the HTTP code, and what any request can meet."""

from __future__ import annotations

from typing import Any, ClassVar

from cove.errors import CoveError

MESSAGE_LENGTH_MAX = 1000


class NetworkingError(CoveError):
    """Root of the tree. `type` and `code` are what the wire form says."""

    type: ClassVar[str] = "NeutronException"
    code: ClassVar[int] = 500
    form: ClassVar[str] = "the request failed"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.type = cls.__dict__.get("type", cls.__name__)

    def __init__(self, message: str | None = None, **values: Any) -> None:
        super().__init__(message if message is not None else self.form.format(**values))
        self.values = values

    def to_json(self) -> dict[str, Any]:
        """The wire form. A message that quotes a long value is cut."""
        message = str(self)
        if len(message) > MESSAGE_LENGTH_MAX:
            message = f"{message[:MESSAGE_LENGTH_MAX]}…"
        return {"NeutronError": {"type": self.type, "message": message, "detail": ""}}


class BadRequest(NetworkingError):
    """400."""

    code = 400


class NotAuthorized(NetworkingError):
    """403."""

    code = 403
    form = "this needs the admin role: {action}"


class AdminRequired(NotAuthorized):
    """403: what only an admin may do to another project."""


class PolicyNotAuthorized(NotAuthorized):
    """403: a rule of the policy says no."""

    form = "rule:{action} is disallowed by policy"


class NotFound(NetworkingError):
    """404."""

    code = 404


class Conflict(NetworkingError):
    """409."""

    code = 409


class InUse(Conflict):
    """409: something still uses the resource."""


class ServiceUnavailable(NetworkingError):
    """503."""

    code = 503


class HTTPBadRequest(BadRequest):
    """The request's form: unknown, missing or forbidden attributes, values of the wrong kind."""


class MalformedRequestBody(BadRequest):
    """The body is not JSON, or not an object."""

    form = "malformed request body: {reason}"


class InvalidInput(BadRequest):
    """Values that are well-formed and do not fit together, or the network."""

    form = "invalid input for operation: {reason}"


class HTTPNotFound(NotFound):
    """No such path."""

    form = "the resource could not be found: {path}"


class RevisionNumberConstraintFailed(NetworkingError):
    """412: If-Match names another revision than the object has."""

    code = 412
    form = "the object's revision_number is {current}, and the request is for revision {wanted} only"


class Busy(ServiceUnavailable):
    """Too much waits for the database."""


class OutcomeUnknown(NetworkingError):
    """504: the answer to a commit was lost. Not 503, at which clients repeat what they sent."""

    code = 504


class DatabaseRetriesExhausted(ServiceUnavailable):
    """Others kept changing the same rows."""

    form = "the request collided with others {attempts} times; try again"
