"""Lists in pages: order, markers, links; also where policy hides some of what the database found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cove.network import errors
from cove.network.controller import LIMIT_MAX, Page
from tests.unit.network.callers import CALLERS, MINE, THEIRS
from tests.unit.network.fakes import Cloud, cloud

NOWHERE = "00000000-0000-4000-8000-000000000000"
BY_NAME = (("sort_key", "name"), ("sort_dir", "asc"))
Arguments = Sequence[tuple[str, str]]


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as made:
        for name, mtu in (("a", 1400), ("b", 1500), ("c", 1400), ("d", 1500), ("e", 1400)):
            await made.network(name=name, mtu=mtu)
        yield made


async def page(c: Cloud, *arguments: tuple[str, str], resource: str = "network") -> Page:
    return await c.service.controllers[resource].find(c.context, arguments)


def names(found: Page) -> str:
    return "".join(item["name"] for item in found.items)


async def ids(c: Cloud) -> dict[str, str]:
    return {network["name"]: network["id"] for network in await c.find("network")}


SORTED: list[tuple[Arguments, str]] = [
    ([("sort_key", "name"), ("sort_dir", "asc")], "abcde"),
    ([("sort_key", "name"), ("sort_dir", "desc")], "edcba"),
    ([("sort_key", "name")], "abcde"),
    ([("sort_key", "mtu"), ("sort_key", "name"), ("sort_dir", "desc"), ("sort_dir", "asc")], "bdace"),
    ([("sort_key", "mtu"), ("sort_key", "name"), ("sort_dir", "asc"), ("sort_dir", "desc")], "ecadb"),
    ([("sort_key", "mtu"), ("sort_key", "name"), ("sort_dir", "desc")], "bdace"),
    ([("sort_key", "name"), ("sort_key", "name"), ("sort_dir", "desc"), ("sort_dir", "asc")], "edcba"),
    ([("sort_key", ""), ("sort_dir", ""), *BY_NAME], "abcde"),
    # Without a limit all that there is comes in reverse; a marker says nothing then.
    ([*BY_NAME, ("page_reverse", "True")], "edcba"),
    ([*BY_NAME, ("page_reverse", "nonsense")], "abcde"),
    ([*BY_NAME, ("marker", NOWHERE)], "abcde"),
    ([*BY_NAME, ("limit", "0"), ("marker", NOWHERE)], "abcde"),
]


@pytest.mark.parametrize(("arguments", "order"), SORTED)
async def test_order(c: Cloud, arguments: Arguments, order: str) -> None:
    found = await page(c, *arguments)
    assert names(found) == order
    assert (found.next, found.previous) == (None, None)


REFUSED: list[tuple[Arguments, type[errors.NetworkingError], str]] = [
    ([("sort_key", "nothing")], errors.HTTPBadRequest, "nothing"),
    ([("sort_key", "shared")], errors.HTTPBadRequest, "shared"),
    ([("sort_key", "tags")], errors.HTTPBadRequest, "tags"),
    ([("sort_key", "provider:network_type")], errors.HTTPBadRequest, "provider:network_type"),
    ([("sort_key", "name"), ("sort_dir", "up")], errors.HTTPBadRequest, "'up'"),
    ([("sort_dir", "asc")], errors.HTTPBadRequest, "more sort_dir"),
    ([("sort_key", "name"), ("sort_dir", "asc"), ("sort_dir", "asc")], errors.HTTPBadRequest, "more sort_dir"),
    ([("limit", "")], errors.BadRequest, "''"),
    ([("limit", "-1")], errors.BadRequest, "'-1'"),
    ([("limit", "1.5")], errors.BadRequest, "'1.5'"),
    ([("limit", "x")], errors.BadRequest, "'x'"),
    ([("limit", "١")], errors.BadRequest, "limit"),
    ([("limit", "2"), ("marker", NOWHERE)], errors.NetworkNotFound, NOWHERE),
    ([("limit", "2"), ("marker", "x\0")], errors.NetworkNotFound, "x"),
]


@pytest.mark.parametrize(("arguments", "error", "says"), REFUSED)
async def test_refused(c: Cloud, arguments: Arguments, error: type[errors.NetworkingError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        await page(c, *arguments)
    assert caught.value.type == error.__name__


LIMITS = [("2", 2), (" 2 ", 2), ("+2", 2), ("02", 2), ("9" * 500, 5), ("0" * 500 + "1", 1)]


@pytest.mark.parametrize(("limit", "length"), LIMITS)
async def test_limits(c: Cloud, limit: str, length: int) -> None:
    assert len((await page(c, ("limit", limit))).items) == length
    assert len((await page(c, ("limit", "5"), ("limit", limit))).items) == length


# (marker, reverse, limit) → the page, and the markers of the links to the next and the previous one.
NONE = "no link"
PAGES: list[tuple[str, bool, int, str, str, str]] = [
    ("", False, 2, "ab", "b", "a"),
    ("b", False, 2, "cd", "d", "c"),
    ("d", False, 2, "e", NONE, "e"),
    ("e", False, 2, "", NONE, ""),
    ("", False, 5, "abcde", "e", "a"),
    ("", False, 6, "abcde", NONE, "a"),
    ("", True, 2, "de", "e", "d"),
    ("d", True, 2, "bc", "c", "b"),
    ("b", True, 2, "a", "a", NONE),
    ("a", True, 2, "", "", NONE),
    ("", True, 5, "abcde", "e", "a"),
    ("", True, 6, "abcde", "e", NONE),
]


@pytest.mark.parametrize(("marker", "reverse", "limit", "shown", "following", "before"), PAGES)
async def test_pages(c: Cloud, marker: str, reverse: bool, limit: int, shown: str, following: str, before: str) -> None:
    by_name = await ids(c)
    asked = [*BY_NAME, ("limit", str(limit)), ("fields", "name")]
    more = [("marker", by_name[marker])] if marker else []
    found = await page(c, *asked, *more, *([("page_reverse", "true")] if reverse else []))
    assert names(found) == shown
    assert all(item.keys() == {"name"} for item in found.items)
    expected_next = None if following == NONE else [*asked, *([("marker", by_name[following])] if following else [])]
    assert found.next == expected_next
    expected = None if before == NONE else [*asked, *([("marker", by_name[before])] if before else [])]
    assert found.previous == (None if expected is None else [*expected, ("page_reverse", "True")])


@pytest.mark.parametrize("sort", [BY_NAME, (), (("sort_key", "mtu"), ("sort_dir", "desc"))])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
async def test_following_the_links_shows_each_once_there_and_back(c: Cloud, sort: Arguments, limit: int) -> None:
    whole = names(await page(c, *sort))
    seen, pages = "", 0
    query: Arguments | None = [*sort, ("limit", str(limit))]
    last = None
    while query is not None:
        found = await page(c, *query)
        seen, query, pages = seen + names(found), found.next, pages + 1
        if found.items:
            last = found
        assert pages < 10
    assert seen == whole
    assert last is not None
    seen, query = names(last), last.previous
    while query is not None:
        found = await page(c, *query)
        seen, query, pages = names(found) + seen, found.previous, pages + 1
        assert pages < 20
    assert seen == whole


async def test_nulls_are_before_everything(c: Cloud) -> None:
    network = (await c.find("network"))[0]
    for cidr, gateway in (("10.0.0.0/24", None), ("10.1.0.0/24", "10.1.0.1"), ("10.2.0.0/24", None)):
        await c.subnet(network, cidr, gateway_ip=gateway)
    for direction, order in (("asc", [None, None, "10.1.0.1"]), ("desc", ["10.1.0.1", None, None])):
        query: Arguments | None = [("sort_key", "gateway_ip"), ("sort_dir", direction), ("limit", "1")]
        seen = []
        while query is not None:
            found = await page(c, *query, resource="subnet")
            seen += [subnet["gateway_ip"] for subnet in found.items]
            query = found.next
        assert seen == order


async def test_the_most_that_a_page_has(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LIMIT_MAX >= 1000
    monkeypatch.setattr("cove.network.controller.LIMIT_MAX", 3)
    found = await page(c, *BY_NAME, ("limit", "4"))
    assert names(found) == "abc"
    assert found.next is not None
    assert names(await page(c, *found.next)) == "de"


# --- where policy has a say ------------------------------------------------------------------------------------------


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Cloud]:
    """A cloud whose operator hides networks that are called x from all but admins; ten of them, every other one."""
    policy = tmp_path / "policy.toml"
    policy.write_text("get_network = \"role:admin or (project_id:%(project_id)s and not 'x':%(name)s)\"\n")
    async with cloud(tmp_path, policy_file=policy) as made:
        for number in range(10):
            await made.network(name="x" if number % 2 else "o", description=f"{number}", project_id=MINE)
        yield made


BY_NUMBER = (("sort_key", "description"), ("sort_dir", "asc"))


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9, 10, 11])
async def test_what_policy_hides_does_not_end_the_pages(strict: Cloud, limit: int) -> None:
    strict.context = CALLERS["member"]
    seen: list[str] = []
    last: dict[str, Any] | None = None
    query: Arguments | None = [*BY_NUMBER, ("limit", str(limit))]
    while query is not None:
        found = await page(strict, *query)
        seen += [item["description"] for item in found.items]
        last = {"previous": found.previous} if found.items or last is None else last
        query = found.next
    assert seen == ["0", "2", "4", "6", "8"]
    # And back from the very end.
    seen, query = [], [*BY_NUMBER, ("limit", str(limit)), ("page_reverse", "True")]
    while query is not None:
        found = await page(strict, *query)
        seen = [item["description"] for item in found.items] + seen
        query = found.previous
    assert seen == ["0", "2", "4", "6", "8"]


async def test_a_page_of_what_is_hidden_leads_on(strict: Cloud) -> None:
    strict.context = CALLERS["member"]
    first = await page(strict, *BY_NUMBER, ("limit", "1"))
    assert first.next is not None
    second = await page(strict, *first.next)
    assert second.items == []
    assert second.next is not None
    assert [item["description"] for item in (await page(strict, *second.next)).items] == ["2"]


async def test_filters_find_nothing_of_others_by_what_is_hidden(c: Cloud) -> None:
    network = await c.network(project_id=MINE)
    mine = await c.port(network, project_id=MINE, **{"binding:host_id": "host-7"})
    others = await c.port(network, project_id=THEIRS, **{"binding:host_id": "host-7"})
    query = (("binding:host_id", "host-7"),)
    assert {found["id"] for found in await c.find("port", *query)} == {mine["id"], others["id"]}
    c.context = CALLERS["member"]
    assert {found["id"] for found in await c.find("port")} == {mine["id"], others["id"]}
    assert [found["id"] for found in await c.find("port", *query)] == [mine["id"]]
    assert await c.find("port", *query, ("id", others["id"])) == []


@pytest.mark.parametrize("reverse", [False, True])
async def test_pages_of_a_member_are_those_of_all_it_may_see(c: Cloud, reverse: bool) -> None:
    projects = ("0" * 32, MINE, THEIRS, "f" * 32)
    for owner in (MINE, THEIRS):
        network = await c.network(project_id=owner, shared=True)
        await c.bulk("port", [{"network_id": network["id"], "project_id": project} for project in projects * 3])
    c.context = CALLERS["member"]
    whole = [port["id"] for port in await c.find("port")]
    assert len(whole) == 4 * 3 + 3
    seen: list[str] = []
    for _ in range(10):
        arguments = [("limit", "4"), ("fields", "id"), *([("page_reverse", "true")] if reverse else [])]
        arguments += [("marker", seen[0] if reverse else seen[-1])] if seen else []
        found = [port["id"] for port in await c.find("port", *arguments)]
        seen = [*found, *seen] if reverse else [*seen, *found]
    assert seen == whole
