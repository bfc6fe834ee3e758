"""What a body may have: one table of fields for each resource, and the checks they share.

A check takes the value and returns the one to store; it raises ValueError with what it should have been. Values of
secrets are never quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cove.identity.errors import ValidationError
from cove.identity.passwords import PASSWORD_LENGTH_MAX

Check = Callable[[Any], Any]

EXTRA_BYTES_MAX = 16 << 10
TAGS_MAX = 80
TEXT_LENGTH_MAX = 64 << 10
VALUE_QUOTED_MAX = 100

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_TAG = re.compile(r"[^,/]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a body."""

    name: str
    check: Check
    required: bool = False
    secret: bool = False


def name(length_max: int) -> Check:
    """Text that is not blank."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > length_max:
            raise ValueError(f"text of 1 to {length_max} characters")
        return _storable(value)

    return check


def text(value: Any) -> str:
    """Text, maybe empty; null is empty."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX:
        raise ValueError(f"text of at most {TEXT_LENGTH_MAX} characters")
    return _storable(value)


def nullable_text(value: Any) -> str | None:
    """Text or null."""
    return None if value is None else text(value)


def _storable(value: str) -> str:
    """Text that every database takes. Raises ValueError."""
    if _NOT_STORABLE.search(value):
        raise ValueError("text without NUL characters and lone surrogates")
    return value


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def identifier(value: Any) -> str:
    """The id of an object."""
    if not isinstance(value, str) or not 1 <= len(value) <= 64:
        raise ValueError("an id")
    return _storable(value)


def nullable_identifier(value: Any) -> str | None:
    """The id of an object, or null."""
    return None if value is None else identifier(value)


def password(value: Any) -> str | None:
    """A password, or null for none: then nobody can log in with one."""
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= PASSWORD_LENGTH_MAX:
        raise ValueError(f"text of 1 to {PASSWORD_LENGTH_MAX} characters")
    return _no_nul(value)


def _no_nul(value: str) -> str:
    """A password as a login takes it. Raises ValueError."""
    if "\0" in value:
        raise ValueError("text without NUL characters")
    return value


def tags(value: Any) -> list[str]:
    """Distinct short texts."""
    if not isinstance(value, list) or len(value) > TAGS_MAX:
        raise ValueError(f"a list of at most {TAGS_MAX} tags")
    if not all(isinstance(tag, str) and _TAG.match(tag) for tag in value):
        raise ValueError("a list of texts of 1 to 255 characters without ',' and '/'")
    if len(set(value)) != len(value):
        raise ValueError("a list of different tags")
    return [_storable(tag) for tag in value]


def one_of(*choices: str) -> Check:
    """One of these texts."""

    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return check


def nothing(remedy: str) -> Check:
    """Something that this service leaves out: only what means "none" is taken."""

    def check(value: Any) -> None:
        if value:
            raise ValueError(f"absent: {remedy}")

    return check


def member(body: Any, kind: str) -> Mapping[str, Any]:
    """The object of that name in a body. Raises ValidationError."""
    if not isinstance(body, dict) or not isinstance(body.get(kind), dict):
        raise ValidationError(f"Invalid input for field/attribute body. Expected an object with a member {kind!r}.")
    inner: dict[str, Any] = body[kind]
    return inner


def checked(kind: str, fields: Sequence[Field], body: Any, *, create: bool, extra: bool = False) -> dict[str, Any]:
    """The fields of a body that are there, checked. Raises ValidationError for the first that is not as it should be.

    With `extra`, members that no field names are kept as they are under "extra"; else they are passed over, as clients
    of other versions send what we do not know.
    """
    given = member(body, kind)
    values: dict[str, Any] = {}
    for field in fields:
        if field.name not in given:
            if create and field.required:
                raise ValidationError(f"Invalid input for field/attribute {kind}. {field.name!r} is required.")
            continue
        value = given[field.name]
        try:
            values[field.name] = field.check(value)
        except ValueError as error:
            shown = "(not shown)" if field.secret else repr(value)[:VALUE_QUOTED_MAX]
            raise ValidationError(
                f"Invalid input for field/attribute {field.name}. Value: {shown}. Expected {error}"
            ) from None
    if extra:
        known = {field.name for field in fields} | {"id", "links", "extra"}
        rest = {key: value for key, value in given.items() if key not in known}
        _check_extra(kind, rest)
        values["extra"] = rest
    return values


def _check_extra(kind: str, rest: Mapping[str, Any]) -> None:
    """What is kept of members that we do not know: plain values, in bounds, that can be stored."""
    try:
        plain = all(value is None or isinstance(value, str | int | float | bool) for value in rest.values())
        for text_value in (*rest, *(value for value in rest.values() if isinstance(value, str))):
            _storable(text_value)
        small = len(msgspec.json.encode(rest)) <= EXTRA_BYTES_MAX
    except (ValueError, OverflowError):
        plain = small = False
    if not plain or not small:
        raise ValidationError(
            f"Invalid input for field/attribute {kind}. Further members may be texts, numbers, true, false or null, "
            f"of at most {EXTRA_BYTES_MAX} bytes together."
        )
