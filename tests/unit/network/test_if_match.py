"""If-Match: a change that is for one revision of an object only (extension revision-if-match)."""

from __future__ import annotations

import pytest

from cove.network import errors
from cove.network.controller import revision_of
from tests.unit.network.callers import CALLERS
from tests.unit.network.fakes import Cloud

READ: list[tuple[list[str], int | None]] = [
    ([], None),
    ([""], None),
    (["*"], None),
    (["revision_number=7"], 7),
    (['"revision_number=7"'], 7),
    (["revision_number= 7 "], 7),
    (["revision_number=+7"], 7),
    (["revision_number=-1"], -1),
    (["revision_number=" + "9" * 400], int("9" * 18)),
    # Entity tags of other kinds, and weak ones, say nothing.
    (['"x"'], None),
    (["nonsense"], None),
    (["REVISION_NUMBER=7"], None),
    (['W/"revision_number=7"'], None),
    (['"x", "revision_number=7"'], 7),
    (['"revision_number=7","x"'], 7),
    (['"x"', '"revision_number=7"'], 7),
]


@pytest.mark.parametrize(("headers", "revision"), READ)
def test_what_is_read(headers: list[str], revision: int | None) -> None:
    assert revision_of(headers) == revision


REFUSED: list[tuple[list[str], str]] = [
    (["revision_number="], "not of the form revision_number=N"),
    (["revision_number=x"], "not of the form"),
    (["revision_number=7;"], "not of the form"),
    (["revision_number=1.0"], "not of the form"),
    (["revision_number=١"], "not of the form"),
    (["revision_number=1, revision_number=2"], "not of the form"),
    (["revision_number=1", "revision_number=2"], "not of the form"),
    (['"revision_number=1", "revision_number=2"'], "more than one"),
    (['"revision_number=1"', '"revision_number=1"'], "more than one"),
    (['"revision_number=1" "revision_number=2"'], "more than one"),
]


@pytest.mark.parametrize(("headers", "says"), REFUSED)
def test_what_is_refused(headers: list[str], says: str) -> None:
    with pytest.raises(errors.BadRequest, match=says) as caught:
        revision_of(headers)
    assert caught.value.type == "BadRequest"


RESOURCES = ("network", "subnet", "port", "subnetpool", "security_group")


async def made(c: Cloud, resource: str) -> tuple[str, int]:
    """An object of a resource: its id and revision."""
    network = await c.network()
    match resource:
        case "network":
            item = network
        case "subnet":
            item = await c.subnet(network)
        case "port":
            item = await c.port(network)
        case "subnetpool":
            item = await c.create("subnetpool", name="p", prefixes=["10.0.0.0/8"])
        case _:
            item = await c.create("security_group", name="g")
    return item["id"], (await c.get(resource, item["id"]))["revision_number"]


@pytest.mark.parametrize("resource", RESOURCES)
async def test_only_the_revision_that_is_there_is_changed(c: Cloud, resource: str) -> None:
    controller = c.service.controllers[resource]
    item_id, revision = await made(c, resource)
    before = await c.get(resource, item_id)
    for wrong in (revision - 1, revision + 1, 0, 1 << 62):
        with pytest.raises(errors.RevisionNumberConstraintFailed, match=str(revision)) as caught:
            await controller.update(c.context, item_id, {resource: {"name": "n"}}, [f"revision_number={wrong}"])
        assert caught.value.code == 412
        with pytest.raises(errors.RevisionNumberConstraintFailed):
            await controller.delete(c.context, item_id, [f"revision_number={wrong}"])
    assert await c.get(resource, item_id) == before
    answer = await controller.update(c.context, item_id, {resource: {"name": "n"}}, [f"revision_number={revision}"])
    assert answer[resource]["name"] == "n"
    assert answer[resource]["revision_number"] == revision + 1
    await controller.delete(c.context, item_id, [f'"revision_number={revision + 1}"'])
    assert await c.find(resource, ("id", item_id)) == []


async def test_what_counts_before_it(c: Cloud) -> None:
    """A header that cannot be read, then the body, then who asks, then the revision."""
    controller = c.service.controllers["network"]
    network_id, revision = await made(c, "network")
    wrong, body = [f"revision_number={revision + 5}"], {"network": {"name": "n"}}
    with pytest.raises(errors.HTTPBadRequest):
        await controller.update(c.context, network_id, {"network": {"name": 5}}, wrong)
    with pytest.raises(errors.NetworkNotFound):
        await controller.update(c.context, network_id.replace("-", "0"), body, wrong)
    with pytest.raises(errors.NetworkNotFound):
        await controller.update(CALLERS["stranger"], network_id, body, wrong)
    await c.update("network", network_id, shared=True)
    with pytest.raises(errors.PolicyNotAuthorized):
        await controller.update(CALLERS["stranger"], network_id, body, wrong)
