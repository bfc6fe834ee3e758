"""Cove answers as a real Neutron does: two thousand requests, with what Neutron answered to each (golden.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .cloud import Cloud
from .conformance import deviations, golden
from .conformance.calls import Scenario
from .conformance.peers import HttpPeer
from .conformance.play import play
from .conformance.report import SETTINGS, compare
from .conformance.table import SCENARIOS

RECORDED = golden.read()


def _title(scenario: Scenario) -> str:
    return golden.title(scenario.group, scenario.title)


@pytest.fixture(scope="module")
def cloud_settings() -> dict[str, str]:
    return SETTINGS


@pytest.fixture(scope="module")
def peer(engine_cloud: Cloud) -> Iterator[HttpPeer]:
    made = engine_cloud.peer()
    yield made
    made.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_title)
def test_scenario(peer: HttpPeer, engine_cloud: Cloud, scenario: Scenario) -> None:
    try:
        found = compare(scenario, RECORDED[_title(scenario)], play(peer, scenario))
    except BaseException:
        engine_cloud.clear()  # the next scenario counts what there is
        raise
    assert not found, "\n".join(f"{call[:300]}\n    {difference}" for call, difference in found)


def test_every_scenario_is_recorded_once() -> None:
    titles = [_title(scenario) for scenario in SCENARIOS]
    assert len(set(titles)) == len(titles)
    assert set(titles) == set(RECORDED)
    assert [len(RECORDED[title]) for title in titles] == [len(scenario.calls) for scenario in SCENARIOS]


def test_every_deviation_has_a_reason() -> None:
    assert all(known.why for known in deviations.DEVIATIONS)


@pytest.mark.parametrize(
    ("got", "difference"),
    [
        ({"status": 200, "port": {"a": 1, "b": [{"c": 2}]}}, None),
        ({"status": 404, "type": "PortNotFound"}, "status 404 PortNotFound, not 200"),
        ({"status": 200, "port": {"a": 2, "b": [{"c": 2}]}}, "port.a 2, not 1"),
        ({"status": 200, "port": {"a": 1}}, "port: no key b"),
        ({"status": 200, "port": {"a": 1, "b": [{"c": 2}], "d": 3}}, "port: additional key d"),
        ({"status": 200, "port": {"a": 1, "b": []}}, "port.b: 0 items, not 1"),
        ({"status": 200, "port": {"a": 1, "b": [{"c": 3}]}}, "port.b[].c 3, not 2"),
        ({"status": 200}, "no key port"),
    ],
    ids=json.dumps,
)
def test_differences_are_seen(got: dict[str, object], difference: str | None) -> None:
    expected = {"status": 200, "port": {"a": 1, "b": [{"c": 2}]}}
    assert golden.differences(expected, got) == ([] if difference is None else [difference])
