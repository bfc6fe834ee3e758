"""The errors of the Identity API: `{"error": {"code", "title", "message"}}`, as OpenStack's clients read them.

Codes and titles are those of Identity v3; the sentences are ours. No message repeats a secret that was sent.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from cove.errors import CoveError

MESSAGE_LENGTH_MAX = 1000


class IdentityError(CoveError):
    """Root of the tree; `code` is the HTTP status."""

    code: ClassVar[int] = 500

    @property
    def title(self) -> str:
        """The words of the HTTP status."""
        return HTTPStatus(self.code).phrase

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the answer has besides."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """The wire form. A message that quotes a long value is cut."""
        message = str(self)
        if len(message) > MESSAGE_LENGTH_MAX:
            message = f"{message[:MESSAGE_LENGTH_MAX]}…"
        return {"error": {"code": self.code, "title": self.title, "message": message}}


class ValidationError(IdentityError):
    """400: a field, its value, and what it should be."""

    code = 400


class Unauthorized(IdentityError):
    """401. It never says what was wrong: that would tell who exists, and who has which role."""

    code = 401

    def __init__(self, message: str = "The request you have made requires authentication.") -> None:
        super().__init__(message)


class Forbidden(IdentityError):
    """403."""

    code = 403


class ActionForbidden(Forbidden):
    """403: the caller's roles do not allow it."""

    def __init__(self, action: str) -> None:
        super().__init__(f"You are not authorized to perform the requested action: identity:{action}.")


class NotFound(IdentityError):
    """404."""

    code = 404


class Conflict(IdentityError):
    """409: a name is taken."""

    code = 409


class RequestTooLarge(IdentityError):
    """413."""

    code = 413

    @property
    def title(self) -> str:
        """The words that Python's table had for it until 3.13."""
        return "Request Entity Too Large"


class TooManyAttempts(IdentityError):
    """429: too many failed logins; the client may try again after `retry_after_s` seconds."""

    code = 429

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many failed logins: try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After."""
        return {"retry-after": str(self.retry_after_s)}


class Busy(IdentityError):
    """503: more logins wait than will be served in time."""

    code = 503

    def __init__(self) -> None:
        super().__init__("Too many logins at once: try again in a second.")

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After."""
        return {"retry-after": "1"}


class Unavailable(IdentityError):
    """503: the database is busy or away; nothing was done."""

    code = 503

    def __init__(self) -> None:
        super().__init__("The service is not available now, and nothing was done: try again in a second.")

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After."""
        return {"retry-after": "1"}


class OutcomeUnknown(IdentityError):
    """504: the database went away while it was told to commit."""

    code = 504

    def __init__(self) -> None:
        super().__init__(
            "The answer of the database was lost: the change was made, or it was not. Look, then try again."
        )


class NotImplementedHere(IdentityError):
    """501: a part of Identity v3 that this service leaves out."""

    code = 501


def no_such(kind: str, found: str) -> NotFound:
    """NotFound for an object of that kind."""
    return NotFound(f"Could not find {kind}: {found}.")
