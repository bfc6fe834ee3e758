"""How networks are carried: provider attributes at creation, and what of them can be changed."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cove.network import errors, segments
from cove.network.tables.network import VLAN_ID_MAX, VXLAN_ID_MAX
from tests.unit.network.callers import CALLERS, THEIRS
from tests.unit.network.fakes import Cloud, cloud

TYPE, PHYSICAL, ID = "provider:network_type", "provider:physical_network", "provider:segmentation_id"
PHYSNET = "physnet1"


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path, physical_networks=[PHYSNET, "physnet2"]) as made:
        yield made


def segment(kind: Any = None, physical: Any = None, number: Any = None) -> dict[str, Any]:
    """Those of the three that are not None."""
    named = {TYPE: kind, PHYSICAL: physical, ID: number}
    return {name: value for name, value in named.items() if value is not None}


MADE: list[tuple[dict[str, Any], tuple[str, str | None, int | None]]] = [
    ({}, ("local", None, None)),
    (segment("local"), ("local", None, None)),
    (segment("flat", PHYSNET), ("flat", PHYSNET, None)),
    (segment("vlan", PHYSNET, 1), ("vlan", PHYSNET, 1)),
    (segment("vlan", PHYSNET, str(VLAN_ID_MAX)), ("vlan", PHYSNET, VLAN_ID_MAX)),
    (segment("vxlan", None, VXLAN_ID_MAX), ("vxlan", None, VXLAN_ID_MAX)),
]


@pytest.mark.parametrize(("given", "has"), MADE)
async def test_segments(c: Cloud, given: dict[str, Any], has: tuple[Any, ...]) -> None:
    network = await c.network(**given)
    assert (network[TYPE], network[PHYSICAL], network[ID]) == has


@pytest.mark.parametrize(
    ("given", "ids"), [(segment("vlan", PHYSNET), (1, VLAN_ID_MAX)), (segment("vxlan"), (1, VXLAN_ID_MAX))]
)
async def test_an_id_that_nobody_asked_for_is_free_and_possible(
    c: Cloud, given: dict[str, Any], ids: tuple[int, int]
) -> None:
    numbers = [(await c.network(**given))[ID] for _ in range(5)]
    assert len(set(numbers)) == 5
    assert all(ids[0] <= number <= ids[1] for number in numbers)


REFUSED: list[tuple[dict[str, Any], type[errors.NetworkingError], str]] = [
    (segment("gre"), errors.InvalidInput, "'gre' is unknown; use one of local, flat, vlan, vxlan"),
    (segment("VLAN", PHYSNET, 5), errors.InvalidInput, "'VLAN'"),
    (segment(""), errors.InvalidInput, "''"),
    ({TYPE: None}, errors.HTTPBadRequest, TYPE),
    ({TYPE: 5}, errors.HTTPBadRequest, TYPE),
    ({TYPE: "x" * 33}, errors.HTTPBadRequest, TYPE),
    ({TYPE: "vlan", PHYSICAL: None}, errors.HTTPBadRequest, PHYSICAL),
    ({TYPE: "vlan", PHYSICAL: "x" * 65}, errors.HTTPBadRequest, PHYSICAL),
    ({TYPE: "vxlan", ID: None}, errors.InvalidInput, ID),
    ({TYPE: "vxlan", ID: "five"}, errors.InvalidInput, ID),
    ({TYPE: "vxlan", ID: 1 << 40}, errors.HTTPBadRequest, ID),
    (segment(None, PHYSNET), errors.InvalidInput, f"{TYPE} is needed beside {PHYSICAL}"),
    (segment(None, None, 5), errors.InvalidInput, f"{TYPE} is needed beside {ID}"),
    (segment("local", PHYSNET), errors.InvalidInput, PHYSICAL),
    (segment("local", None, 5), errors.InvalidInput, ID),
    (segment("flat"), errors.InvalidInput, PHYSICAL),
    (segment("flat", ""), errors.InvalidInput, PHYSICAL),
    (segment("flat", "nowhere"), errors.InvalidInput, "'nowhere' is unknown; use one of physnet1, physnet2"),
    (segment("flat", PHYSNET, 5), errors.InvalidInput, ID),
    (segment("vlan", None, 5), errors.InvalidInput, PHYSICAL),
    (segment("vlan", "nowhere", 5), errors.InvalidInput, "nowhere"),
    (segment("vlan", PHYSNET, 0), errors.InvalidInput, "not in 1-4094"),
    (segment("vlan", PHYSNET, VLAN_ID_MAX + 1), errors.InvalidInput, "not in 1-4094"),
    (segment("vxlan", PHYSNET, 5), errors.InvalidInput, PHYSICAL),
    (segment("vxlan", None, -1), errors.InvalidInput, ID),
    (segment("vxlan", None, 0), errors.InvalidInput, ID),
    (segment("vxlan", None, VXLAN_ID_MAX + 1), errors.InvalidInput, ID),
]


@pytest.mark.parametrize(("given", "error", "says"), REFUSED)
async def test_segments_that_cannot_be(c: Cloud, given: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        await c.network(**given)
    assert await c.find("network") == []


IN_USE: Mapping[type[errors.NetworkingError], dict[str, Any]] = {
    errors.FlatNetworkInUse: segment("flat", PHYSNET),
    errors.VlanIdInUse: segment("vlan", PHYSNET, 100),
    errors.TunnelIdInUse: segment("vxlan", None, 100),
}


@pytest.mark.parametrize("error", IN_USE)
async def test_a_segment_is_given_once_and_again_when_it_is_free(c: Cloud, error: type[errors.NetworkingError]) -> None:
    wanted = IN_USE[error]
    first = await c.network(**wanted)
    with pytest.raises(error):
        await c.network(**wanted)
    with pytest.raises(error):
        await c.bulk("network", [{}, wanted])
    await c.delete("network", first["id"])
    again = await c.network(**wanted)
    assert again.items() >= wanted.items()


async def test_the_same_vlan_on_two_physical_networks(c: Cloud) -> None:
    for physical in (PHYSNET, "physnet2"):
        assert (await c.network(**segment("vlan", physical, 100)))[ID] == 100


async def test_all_vlans_are_given_out_before_there_is_none(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    three = dataclasses.replace(segments.KINDS["vlan"], ids=(1, 3))
    monkeypatch.setattr(segments, "KINDS", {**segments.KINDS, "vlan": three})
    given = [(await c.network(**segment("vlan", PHYSNET)))[ID] for _ in range(3)]
    assert sorted(given) == [1, 2, 3]
    with pytest.raises(errors.NoNetworkAvailable):
        await c.network(**segment("vlan", PHYSNET))


CHANGES: list[tuple[dict[str, Any], int]] = [
    ({}, 100),
    (segment(None, None, 100), 100),
    (segment("vlan"), 100),
    (segment("vlan", PHYSNET), 100),
    (segment(None, None, 101), 101),
    (segment("vlan", PHYSNET, "102"), 102),
]


@pytest.mark.parametrize(("changes", "number"), CHANGES)
async def test_changes_of_the_id(c: Cloud, changes: dict[str, Any], number: int) -> None:
    before = await c.network(**segment("vlan", PHYSNET, 100))
    after = await c.update("network", before["id"], **changes)
    assert after[ID] == number
    assert (after["revision_number"] > before["revision_number"]) == (number != 100)
    # What it no longer has is free; what it has is not.
    if number != 100:
        await c.network(**segment("vlan", PHYSNET, 100))
    with pytest.raises(errors.VlanIdInUse):
        await c.network(**segment("vlan", PHYSNET, number))


REFUSED_CHANGES: list[tuple[dict[str, Any], type[errors.NetworkingError], str]] = [
    (segment("vxlan"), errors.InvalidInput, TYPE),
    (segment("gre"), errors.InvalidInput, TYPE),
    (segment(None, "physnet2"), errors.InvalidInput, PHYSICAL),
    (segment("vlan", "physnet2", 101), errors.InvalidInput, PHYSICAL),
    (segment(None, None, 0), errors.InvalidInput, "not in 1-4094"),
    (segment(None, None, VLAN_ID_MAX + 1), errors.InvalidInput, "not in 1-4094"),
    (segment(None, None, 200), errors.VlanIdInUse, "200"),
    ({ID: None}, errors.InvalidInput, ID),
    ({PHYSICAL: None}, errors.HTTPBadRequest, PHYSICAL),
]


@pytest.mark.parametrize(("changes", "error", "says"), REFUSED_CHANGES)
async def test_changes_that_cannot_be(c: Cloud, changes: dict[str, Any], error: type[Exception], says: str) -> None:
    await c.network(**segment("vlan", PHYSNET, 200))
    network = await c.network(**segment("vlan", PHYSNET, 100))
    with pytest.raises(error, match=says):
        await c.update("network", network["id"], **changes)
    assert await c.get("network", network["id"]) == network


@pytest.mark.parametrize("kind", [segment("local"), segment("flat", PHYSNET)])
async def test_a_network_without_an_id_gets_none(c: Cloud, kind: dict[str, Any]) -> None:
    network = await c.network(**kind)
    with pytest.raises(errors.InvalidInput, match=ID):
        await c.update("network", network["id"], **{ID: 5})


async def test_members_neither_say_nor_see_them_and_find_only_their_own_by_them(c: Cloud) -> None:
    admin = c.context
    others = await c.network(project_id=THEIRS, shared=True)
    c.context = CALLERS["member"]
    for given in (segment("local"), segment("gre"), segment("vlan", PHYSNET, 9), {ID: 5}):
        with pytest.raises(errors.PolicyNotAuthorized):
            await c.network(**given)
    mine = await c.network()
    assert not {TYPE, PHYSICAL, ID} & mine.keys()
    with pytest.raises(errors.PolicyNotAuthorized):
        await c.update("network", mine["id"], **segment(None, None, 5))
    assert {network["id"] for network in await c.find("network")} == {mine["id"], others["id"]}
    assert [network["id"] for network in await c.find("network", (TYPE, "local"))] == [mine["id"]]
    c.context = admin
    assert len(await c.find("network", (TYPE, "local"))) == 2


FOUND: list[tuple[list[tuple[str, str]], set[str]]] = [
    ([(TYPE, "vlan")], {"a", "b"}),
    ([(TYPE, "vlan"), (ID, "100")], {"a"}),
    ([(ID, "100")], {"a", "x"}),
    ([(ID, "100"), (ID, "200")], {"a", "b", "x"}),
    ([(PHYSICAL, PHYSNET)], {"a", "b"}),
    ([(TYPE, "VLAN")], set()),
    ([(TYPE, "")], set()),
]


@pytest.mark.parametrize(("filters", "names"), FOUND)
async def test_filters(c: Cloud, filters: list[tuple[str, str]], names: set[str]) -> None:
    for name, given in (
        ("a", segment("vlan", PHYSNET, 100)),
        ("b", segment("vlan", PHYSNET, 200)),
        ("x", segment("vxlan", None, 100)),
        ("l", {}),
    ):
        await c.network(name=name, **given)
    assert {network["name"] for network in await c.find("network", *filters)} == names


@pytest.mark.parametrize("number", ["x", "", "1.0", "99999999999999"])
async def test_a_filter_that_is_no_id(c: Cloud, number: str) -> None:
    with pytest.raises(errors.InvalidInput, match=ID):
        await c.find("network", (ID, number))
