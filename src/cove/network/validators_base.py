"""What every validator of attribute values is built from, and those for values of no particular meaning.

A `Validator` takes the client's value and returns the one to keep, or raises ValueError with a reason that reads after
"Invalid input for <attribute>: ". Its `schema` says the same in JSON Schema, for the OpenAPI document; where a client
may spell a value in several ways, the schema names the proper one. Nothing that passes here can carry a line break or
another control character into a file that a DHCP server reads (text with `breaks` excepted: none of it gets there).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

Schema = Mapping[str, Any]

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_CONTROL_BUT_BREAKS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,40}\s*\Z")

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})

LIST_MAX = 256
"""Items in any list of a request, other than the resources of a bulk request."""

MAPPING_BYTES_MAX = 4095
"""Size of a mapping of the client's own, as JSON (Neutron: binding:profile)."""


class NotConvertible(ValueError):
    """The value is of the wrong kind altogether. On the wire that is InvalidInput, not HTTPBadRequest (Neutron)."""


class Validator:
    """Checks and converts one value: call it. `schema` is JSON Schema (2020-12, as in OpenAPI 3.1)."""

    __slots__ = ("_convert", "name", "schema")

    def __init__(self, convert: Callable[[Any], Any], schema: Schema, name: str = "") -> None:
        self._convert = convert
        self.schema = schema
        self.name = name or getattr(convert, "__name__", "")

    def __call__(self, value: Any) -> Any:
        """The value to keep. Raises ValueError with the reason against it."""
        return self._convert(value)

    def __repr__(self) -> str:
        return f"<validator {self.name}>"


def validator(schema: Schema) -> Callable[[Callable[[Any], Any]], Validator]:
    """Decorator: the function is the conversion of a Validator with this schema."""
    return lambda convert: Validator(convert, schema)


def nullable(schema: Schema) -> Schema:
    """The schema of what may also be null."""
    kind = schema.get("type")
    if "enum" in schema or kind is None:
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = [kind] if isinstance(kind, str) else list(kind)
    return schema if "null" in kinds else {**schema, "type": [*kinds, "null"]}


# --- single values ---------------------------------------------------------------------------------------------------


@validator({"type": "boolean"})
def boolean(value: Any) -> bool:
    """True or false, also in the spellings that OpenStack's clients use (oslo.utils: bool_from_string)."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise NotConvertible(f"{value!r} is not a boolean; use true or false")


def integer(low: int, high: int) -> Validator:
    """A whole number from `low` to `high`, both included; also as text."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise NotConvertible(f"{value!r} is not an integer")
        if isinstance(value, str) and not _INTEGER.match(value):
            raise NotConvertible(f"{value!r} is not an integer")
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"{number} is not between {low} and {high}")
        return number

    return Validator(convert, {"type": "integer", "minimum": low, "maximum": high}, f"integer({low}, {high})")


def integer_or_null(low: int, high: int) -> Validator:
    """A whole number from `low` to `high`, or null."""
    return optional(integer(low, high))


def mtu(low: int, high: int) -> Validator:
    """An MTU in octets from `low` to `high`; 0 is kept, and stands for the default (Neutron: net-mtu)."""
    checked = integer(0, high)

    def convert(value: Any) -> int:
        number: int = checked(value)
        if 0 < number < low:
            raise ValueError(f"{number} is less than {low}")
        return number

    return Validator(convert, {"type": "integer", "anyOf": [{"const": 0}, {"minimum": low}], "maximum": high}, "mtu")


def text(length_max: int, *, breaks: bool = False, length_min: int = 0) -> Validator:
    """Text of bounded length without control characters; `breaks` allows tabs and line breaks.

    With a `length_min`, blanks alone are too short whatever their number.
    """
    forbidden = _CONTROL_BUT_BREAKS if breaks else _CONTROL

    def convert(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text")
        if len(value) > length_max:
            raise ValueError(f"it has {len(value)} characters; at most {length_max} are allowed")
        if forbidden.search(value):
            raise ValueError(f"{value!r} contains a control character or line break")
        if length_min and len(value.strip()) < length_min:
            raise ValueError(f"{value!r} is too short; at least {length_min} characters are needed")
        return value

    schema = {"type": "string", "maxLength": length_max} | ({"minLength": length_min} if length_min else {})
    return Validator(convert, schema, f"text({length_max})")


def text_or_null(length_max: int) -> Validator:
    """Text of bounded length; null is how some clients say that there is none, and becomes empty text."""
    checked = text(length_max)
    return Validator(
        lambda value: "" if value is None else checked(value), nullable(checked.schema), f"text_or_null({length_max})"
    )


def name(length_max: int, *, required: bool = False) -> Validator:
    """An object's name: text that neither begins nor ends with white space (Neutron: name_string)."""
    checked = text(length_max, length_min=1 if required else 0)

    def convert(value: Any) -> str:
        result: str = checked(value)
        if result != result.strip():
            raise ValueError(f"{value!r} begins or ends with white space")
        return result

    return Validator(convert, checked.schema, f"name({length_max})")


@validator({"type": "string", "format": "uuid"})
def uuid_text(value: Any) -> str:
    """A UUID in its usual form."""
    if isinstance(value, str):
        if _UUID.match(value):
            return value
        try:
            if len(value) in (32, 36):
                return str(uuid.UUID(value))
        except ValueError:
            pass
    raise ValueError(f"{value!r} is not a UUID")


def one_of(values: Iterable[Any], *, parse: Callable[[Any], Any] | None = None) -> Validator:
    """One of the listed values, among which null may be. `parse` may first make a value of a client's spelling."""
    allowed = tuple(values)

    def convert(value: Any) -> Any:
        if parse is not None:
            value = parse(value)
        # Of the same type: 4 == 4.0 and True == 1 would pass otherwise.
        if any(value == item and type(value) is type(item) for item in allowed):
            return value
        raise ValueError(f"{value!r} is not one of {', '.join('null' if a is None else str(a) for a in allowed)}")

    return Validator(convert, {"enum": list(allowed)}, f"one_of({allowed})")


def number_of(values: Iterable[int]) -> Validator:
    """One of the listed whole numbers, also as text: ip_version is 4 or 6, or "4" or "6"."""
    return one_of(values, parse=integer(-(1 << 63), (1 << 63) - 1))


def optional(convert: Validator) -> Validator:
    """The same, or null."""
    return Validator(
        lambda value: None if value is None else convert(value), nullable(convert.schema), f"optional({convert.name})"
    )


uuid_or_null = optional(uuid_text)


def only_null(remedy: str) -> Validator:
    """Null: the attribute is part of the API, other values of it are not supported here."""

    def convert(value: Any) -> None:
        if value is not None:
            raise ValueError(f"{value!r} is not supported: {remedy}")

    return Validator(convert, {"type": "null"}, "only_null")


# --- lists and objects -----------------------------------------------------------------------------------------------


def listed(value: Any, max_items: int = LIST_MAX) -> list[Any]:
    """The value, if it is a list of bounded length."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    if len(value) > max_items:
        raise ValueError(f"it has {len(value)} items; at most {max_items} are allowed")
    return value


def list_of(convert: Validator, max_items: int = LIST_MAX, *, unique: bool = True, null: bool = False) -> Validator:
    """A list of such values. `unique` refuses one that is there twice; `null` takes null for an empty list."""

    def convert_all(value: Any) -> list[Any]:
        if value is None and null:
            return []
        result = [convert(item) for item in listed(value, max_items)]
        if unique:
            refuse_repeated(result)
        return result

    schema: Schema = {"type": "array", "items": convert.schema, "maxItems": max_items}
    if unique:
        schema = {**schema, "uniqueItems": True}
    return Validator(convert_all, nullable(schema) if null else schema, f"list_of({convert.name})")


uuid_list = list_of(uuid_text)


@validator({"type": ["array", "null"], "maxItems": LIST_MAX})
def items(value: Any) -> list[Any]:
    """A list of bounded length, of anything; null is an empty one."""
    return [] if value is None else listed(value)


def empty_list(remedy: str) -> Validator:
    """An empty list: the attribute is part of the API, values of it are not supported here."""

    def convert(value: Any) -> list[Any]:
        if items(value):
            raise ValueError(f"{value!r} is not supported: {remedy}")
        return []

    return Validator(convert, {"type": ["array", "null"], "maxItems": 0}, "empty_list")


@validator({"type": ["object", "null"]})
def mapping_or_none(value: Any) -> dict[str, Any]:
    """An object of the client's own of bounded size; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object")
    size = len(msgspec.json.encode(value))
    if size > MAPPING_BYTES_MAX:
        raise ValueError(f"it has {size} bytes as JSON; at most {MAPPING_BYTES_MAX} are allowed")
    return value


def fields_of(value: Any, required: Iterable[str], allowed: Iterable[str] = ()) -> dict[str, Any]:
    """An object with the required keys and no others than these and the allowed ones."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object")
    required = tuple(required)
    known = (*required, *allowed)
    for key in required:
        if key not in value:
            raise ValueError(f"{value!r} lacks {key!r}")
    for key in value:
        if key not in known:
            raise ValueError(f"{key!r} in {value!r} is not known; known are {', '.join(known)}")
    return value


def object_schema(required: Mapping[str, Schema], allowed: Mapping[str, Schema] | None = None) -> Schema:
    """JSON Schema of what `fields_of` takes."""
    return {
        "type": "object",
        "properties": {**required, **(allowed or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def refuse_repeated(values: Iterable[Any]) -> None:
    """Raise ValueError if a value is there twice."""
    seen = set()
    for value in values:
        key = tuple(sorted(value.items())) if isinstance(value, dict) else value
        if key in seen:
            raise ValueError(f"{value!r} is there twice")
        seen.add(key)
