"""An answer without what no two servers have in common: ids, MACs, times, addresses that the server chose.

What a request of the scenario named stays as it is, so that "the address asked for" and "some address" are told apart.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from .peers import Answer

UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?")
HOST_NAME = re.compile(r"host-[0-9a-f]+(?:-[0-9a-f]*)+")
URL = re.compile(r"https?://[^/\"]+")
PATTERNS = ((UUID, "<id>"), (MAC, "<mac>"), (TIME, "<time>"), (HOST_NAME, "host-<address>"))
CHOSEN_ADDRESSES = frozenset({"ip_address"})
CHOSEN_NUMBERS = frozenset({"provider:segmentation_id"})
INTERNAL = frozenset({"standard_attr_id"})
"""What a row number of one implementation is, and no part of the API."""
UNORDERED = frozenset(
    {
        "allocation_pools",
        "allowed_address_pairs",
        "dns_assignment",
        "extra_dhcp_opts",
        "fixed_ips",
        "security_group_rules",
        "security_groups",
        "subnet_ip_availability",
        "subnets",
        "tags",
    }
)
"""Lists without an order that a client could count on."""
PROSE = frozenset({"message", "detail"})
"""Sentences, which everybody words for themselves."""


def strings(value: Any) -> Iterator[str]:
    """Every string and number in a decoded JSON document, keys excepted."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, (str, int)) and not isinstance(value, bool):
        yield str(value)


class Normaliser:
    """What one scenario has named and seen so far."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)
        self._said: set[str] = set()
        self._asked: frozenset[str] = frozenset()
        self._granted: dict[str, set[str]] = {}
        self._revisions: dict[str, int] = {}

    def name(self, value: str, name: str) -> None:
        """From now on `value` is shown as {name}; the first name stays."""
        self._names.setdefault(value, f"{{{name}}}")

    def said(self, value: Any) -> None:
        """A request that contains these values is about to be made."""
        self._said.update(strings(value))
        self._asked |= frozenset(_addresses(value))

    def answer(self, answer: Answer, *, ordered: bool) -> dict[str, Any]:
        """What is recorded of the answer to what was just said: status, error type, or the objects."""
        try:
            return self._answer(answer, ordered=ordered)
        finally:
            self._asked = frozenset()

    def _answer(self, answer: Answer, *, ordered: bool) -> dict[str, Any]:
        result: dict[str, Any] = {"status": answer.status}
        body = answer.body
        if answer.status >= 400:
            error = body.get("NeutronError") if isinstance(body, Mapping) else None
            if isinstance(error, Mapping):
                result["type"] = error.get("type")
            elif isinstance(error, str):
                result["type"] = "(text)"
            return result
        if not isinstance(body, Mapping):
            return result
        for key, value in body.items():
            if isinstance(value, list):
                items = [self._value(key, item) for item in value]
                result[key] = items if ordered or key.endswith("_links") else sorted(items, key=repr)
            else:
                result[key] = self._value(key, value)
        return result

    def _value(self, key: str, value: Any, asked: Set[str] = frozenset()) -> Any:
        """`asked`: addresses that a request gave to the object that this is part of; others are the server's choice."""
        if isinstance(value, Mapping):
            revision, whose = value.get("revision_number"), value.get("id")
            if isinstance(whose, str):
                granted = self._granted.setdefault(whose, set())
                granted |= self._asked
                asked = granted
            shown = {name: self._value(name, value[name], asked) for name in sorted(set(value) - INTERNAL)}
            if key == "extension":
                shown["description"] = "<text>"
            if isinstance(revision, int) and isinstance(whose, str):
                shown["revision_number"] = self._revision(whose, revision)
            return shown
        if isinstance(value, list):
            items = [self._value(key, item, asked) for item in value]
            return sorted(items, key=repr) if key in UNORDERED else items
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return "<number>" if key in CHOSEN_NUMBERS and str(value) not in self._said else value
        if key in CHOSEN_ADDRESSES and isinstance(value, str) and value not in asked:
            return _kind_of_address(value)
        return self._text(key, value) if isinstance(value, str) else value

    def _revision(self, whose: str, revision: int) -> str:
        before = self._revisions.get(whose)
        self._revisions[whose] = revision
        if before is None:
            return "<first seen>"
        return "<same>" if revision == before else "<greater>" if revision > before else "<smaller>"

    def _text(self, key: str, text: str) -> str:
        if text in self._names:
            return self._names[text]
        if key in PROSE:
            return "<text>"
        text = URL.sub("<url>", text)
        for pattern, shown in PATTERNS:
            text = pattern.sub(functools.partial(self._known_or, shown), text)
        return text

    def _known_or(self, shown: str, found: re.Match[str]) -> str:
        text = found[0]
        return self._names.get(text, text if text in self._said else shown)


def _addresses(value: Any) -> Iterator[str]:
    """Addresses that a request asks for."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in CHOSEN_ADDRESSES and isinstance(item, str):
                yield item
            elif key != "allowed_address_pairs":
                yield from _addresses(item)
    elif isinstance(value, list):
        for item in value:
            yield from _addresses(item)


def _kind_of_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if address.version == 4:
        return "<ipv4>"
    return "<ipv6 of the mac>" if address.packed[11:13] == b"\xff\xfe" else "<ipv6>"
