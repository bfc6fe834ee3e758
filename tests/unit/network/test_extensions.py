"""The extension list says what is there: nothing more, and nothing less."""

from __future__ import annotations

import importlib
import re
from functools import reduce

import pytest

from cove.network.attributes import AttributeTable
from cove.network.extensions import EXTENSIONS, Extension
from cove.network.registry import RESOURCES
from cove.network.tables.views import AVAILABILITY_ZONE, NETWORK_IP_AVAILABILITY, SERVICE_PROVIDER

TABLES: list[AttributeTable] = [
    *(resource.attributes for resource in RESOURCES.values()),
    AVAILABILITY_ZONE,
    NETWORK_IP_AVAILABILITY,
    SERVICE_PROVIDER,
]

CARRIED = {
    alias
    for table in TABLES
    for alias in (table.extension, *(attribute.extension for attribute in table.attributes))
    if alias
}


def test_whatever_a_table_carries_is_listed() -> None:
    assert CARRIED - set(EXTENSIONS) == set()


@pytest.mark.parametrize("extension", EXTENSIONS.values(), ids=list(EXTENSIONS))
def test_whatever_is_listed_is_carried(extension: Extension) -> None:
    if not extension.carrier:
        assert extension.alias in CARRIED
        return
    assert extension.alias not in CARRIED, "a table carries it: it needs no other carrier"
    module, _, name = extension.carrier.partition(":")
    assert reduce(getattr, name.split("."), importlib.import_module(module)) is not None


@pytest.mark.parametrize("extension", EXTENSIONS.values(), ids=list(EXTENSIONS))
def test_entries_have_all_that_clients_read(extension: Extension) -> None:
    assert set(extension.to_json()) == {"alias", "name", "description", "updated", "links"}
    assert all((extension.alias, extension.name, extension.description))
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-\d\d:\d\d\Z", extension.updated)


@pytest.mark.parametrize("alias", ["router", "l3_agent_scheduler", "extraroute", "qos", "trunk", "segment", "dvr"])
def test_what_is_not_there_is_not_listed(alias: str) -> None:
    assert alias not in EXTENSIONS
