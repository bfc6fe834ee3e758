"""Tags: what they may be, changes of them, and what lists find by them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from cove.network import errors, networks, tags
from cove.network.models import networks as table
from tests.unit.network.bare import NOW, Store, bare_store

NETWORK = networks.RESOURCE
LATER = NOW + 60


@pytest.fixture
def store() -> Iterator[Store]:
    with bare_store() as made:
        yield made


BODIES: list[tuple[Any, str]] = [
    (None, "a list"),
    ([], "a list"),
    ({}, "a list"),
    ({"tags": None}, "a list"),
    ({"tags": "red"}, "a list"),
    ({"tags": {"red": 1}}, "a list"),
    ({"tags": ["red", 1]}, "not a text"),
    ({"tags": [["red"]]}, "not a text"),
    ({"tags": ["a\x00b"]}, "NUL"),
    ({"tags": ["red", "blue", "red"]}, "twice"),
    ({"tags": ["x" * 256]}, "256"),
]


@pytest.mark.parametrize(("body", "reason"), BODIES)
def test_bodies_that_are_refused(body: Any, reason: str) -> None:
    with pytest.raises(errors.InvalidInput, match=reason):
        tags.check_body(body)


def test_bodies_that_are_taken() -> None:
    given = ["b", "a", " ", "", "x" * 255, "with/slash", "Ä"]
    assert tags.check_body({"tags": given, "more": 1}) == given
    assert tags.check_body({"tags": []}) == []


def state(store: Store, network_id: str) -> tuple[list[str], int]:
    """The tags of a network, and its revision."""
    revision = store.connection.execute(sa.select(table.c.revision_number).where(table.c.id == network_id)).scalar_one()
    return tags.of(store.reading(), "network", [network_id]).get(network_id, []), revision


CHANGES: list[tuple[str, Any, list[str], int]] = [
    # what is done to [blue, red], then: tags and by how much the revision grew
    ("replace", ["red", "green"], ["green", "red"], 1),
    ("replace", ["red", "blue"], ["blue", "red"], 0),
    ("replace", [], [], 1),
    ("extend", ["green"], ["blue", "green", "red"], 1),
    ("extend", ["red"], ["blue", "red"], 0),
    ("extend", [], ["blue", "red"], 0),
    ("take", "red", ["blue"], 1),
]


@pytest.mark.parametrize(("change", "given", "expected", "revisions"), CHANGES)
def test_changes(store: Store, change: str, given: Any, expected: list[str], revisions: int) -> None:
    network_id, other = store.network(), store.network()
    for item_id in (network_id, other):
        tags.add(store.tx(), "network", item_id, ["red", "blue"])
    getattr(tags, change)(store.tx(LATER), NETWORK, network_id, given)
    assert state(store, network_id) == (expected, 1 + revisions)
    assert state(store, other) == (["blue", "red"], 1)
    changed_at = store.connection.execute(sa.select(table.c.updated_at).where(table.c.id == network_id)).scalar_one()
    assert changed_at == ("2027-01-15T08:01:00Z" if revisions else "2027-01-15T08:00:00Z")


def test_a_tag_that_is_not_there_cannot_be_shown_or_taken(store: Store) -> None:
    network_id = store.network()
    tags.add(store.tx(), "network", network_id, ["red"])
    tags.show(store.reading(), NETWORK, network_id, "red")
    for call in (tags.show, tags.take):
        with pytest.raises(errors.TagNotFound, match="Red"):
            call(store.tx(), NETWORK, network_id, "Red")
    assert state(store, network_id) == (["red"], 1)


def test_an_object_has_fifty_tags_at_most(store: Store) -> None:
    network_id = store.network()
    fifty = [f"tag-{number:02}" for number in range(50)]
    tags.replace(store.tx(), NETWORK, network_id, fifty)
    assert state(store, network_id) == (fifty, 2)
    tags.extend(store.tx(), NETWORK, network_id, fifty[:3])
    for call in (tags.extend, tags.replace):
        with pytest.raises(errors.BadRequest, match="51"):
            call(store.tx(), NETWORK, network_id, [*fifty, "one more"])
    with pytest.raises(errors.BadRequest, match="51"):
        tags.add(store.tx(), "port", str(uuid.uuid4()), [*fifty, "one more"])
    assert state(store, network_id) == (fifty, 2)


def test_tags_go_with_their_object(store: Store) -> None:
    one, two = store.network(), store.network()
    for item_id in (one, two):
        tags.add(store.tx(), "network", item_id, ["red"])
    tags.remove(store.tx(), [])
    tags.remove(store.tx(), [one])
    assert tags.of(store.reading(), "network", [one, two]) == {two: ["red"]}
    assert tags.of(store.reading(), "network", []) == {}


# --- filters ---------------------------------------------------------------------------------------------------------

TAGGED = {"plain": [], "r": ["red"], "rb": ["red", "blue"], "rbg": ["red", "blue", "green"], "g": ["green"]}

FOUND: list[tuple[str, list[str], set[str]]] = [
    ("tags", ["red"], {"r", "rb", "rbg"}),
    ("tags", ["red,blue"], {"rb", "rbg"}),
    ("tags", ["red", "blue,green"], {"rbg"}),
    ("tags", ["red,red"], {"r", "rb", "rbg"}),
    ("tags", [""], set()),
    ("tags", ["red,"], set()),
    ("tags", ["re"], set()),
    ("tags", ["a\x00b"], set()),
    ("tags", [",".join(str(number) for number in range(5000))], set()),
    ("tags-any", ["blue"], {"rb", "rbg"}),
    ("tags-any", ["red,blue"], {"r", "rb", "rbg"}),
    ("tags-any", ["blue", "green"], {"rb", "rbg", "g"}),
    ("tags-any", ["a\x00b"], set()),
    ("not-tags", ["red"], {"plain", "g"}),
    ("not-tags", ["red,blue"], {"plain", "r", "g"}),
    ("not-tags", ["x" * 300], set(TAGGED)),
    ("not-tags-any", ["blue"], {"plain", "r", "g"}),
    ("not-tags-any", ["red,blue"], {"plain", "g"}),
    ("not-tags-any", [""], set(TAGGED)),
]


@pytest.mark.parametrize(("name", "values", "expected"), FOUND)
def test_filters(store: Store, name: str, values: list[str], expected: set[str]) -> None:
    for network, its_tags in TAGGED.items():
        tags.add(store.tx(), "network", store.network(name=network), its_tags)
    condition = tags.filters(table)[name](store.reading(), values)
    assert set(store.connection.execute(sa.select(table.c.name).where(condition)).scalars()) == expected


TIMES: list[tuple[str, bool]] = [
    # the network changed at 2027-01-15T08:00:00Z
    ("2027-01-15T08:00:00Z", True),
    ("2027-01-15T08:00:01Z", False),
    ("2027-01-15T07:59:59", True),
    ("2027-01-15 07:59:59", True),
    ("2027-01-15T10:00:00+02:00", True),
    ("2027-01-15T10:00:01 02:00", False),
    ("2027-01-15", True),
    ("0001-01-01T00:00:00+23:59", True),
    ("9999-12-31T23:59:59Z", False),
]


@pytest.mark.parametrize(("value", "found"), TIMES)
def test_changed_since(store: Store, value: str, found: bool) -> None:
    network_id = store.network()
    condition = tags.filters(table)["changed_since"](store.reading(), [value])
    ids = store.connection.execute(sa.select(table.c.id).where(condition)).scalars().all()
    assert ids == ([network_id] if found else [])


@pytest.mark.parametrize("value", ["", "yesterday", "2027-13-01T00:00:00Z", "1800000000", "\x00"])
def test_changed_since_what_is_no_time(store: Store, value: str) -> None:
    with pytest.raises(errors.InvalidInput, match="YYYY-MM-DDTHH:MM:SSZ"):
        tags.filters(table)["changed_since"](store.reading(), [value])
