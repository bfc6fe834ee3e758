"""Which agent serves which network: the choice as a table, and the bindings in a database of their own."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from cove.network import agents, availability_zones, errors, failover, notifier, scheduler
from cove.network.models import agents as agents_table
from cove.network.models import network_dhcp_agent_bindings as bindings
from cove.network.models import ports
from cove.network.queries import ListQuery, find, row
from cove.network.scheduler import AgentRef, choose
from tests.unit.network.bare import CONFIG, NOW, Store, bare_store


def ref(name: str, zone: str = "nova") -> AgentRef:
    return AgentRef(id=name, host=name, topic="dhcp_agent", admin_state_up=True, availability_zone=zone)


A, B, C, X, Y = ref("a", "z1"), ref("b", "z1"), ref("c", "z1"), ref("x", "z2"), ref("y", "z2")

CHOICES: list[tuple[str, list[AgentRef], dict[str, int], list[AgentRef], int, list[AgentRef]]] = [
    ("nobody", [], {}, [], 1, []),
    ("none wanted", [A], {}, [], 0, []),
    ("fewer than wanted", [A], {}, [], 3, [A]),
    ("the least loaded", [A, B, C], {"a": 3, "b": 1, "c": 2}, [], 1, [B]),
    ("no load is the least", [A, B], {"a": 1}, [], 1, [B]),
    ("equal load: by host", [C, B, A], {}, [], 1, [A]),
    ("two, of two zones", [A, B, X], {"a": 1, "b": 2, "x": 9}, [], 2, [A, X]),
    ("the zone of the least loaded first", [A, X], {"a": 5, "x": 1}, [], 1, [X]),
    ("the zone that has none yet", [A, B, X], {"a": 0, "b": 0, "x": 9}, [C], 1, [X]),
    ("zones even out", [A, B, X, Y], {}, [], 4, [A, X, B, Y]),
    ("one zone runs dry", [A, B, X], {}, [], 3, [A, X, B]),
]


@pytest.mark.parametrize(
    ("candidates", "loads", "hosting", "count", "expected"),
    [case[1:] for case in CHOICES],
    ids=[case[0] for case in CHOICES],
)
def test_choose(
    candidates: list[AgentRef], loads: dict[str, int], hosting: list[AgentRef], count: int, expected: list[AgentRef]
) -> None:
    assert choose(candidates, loads, hosting, count) == expected


SILENCES = [
    # started, heard of, networks → silent at NOW
    (NOW - 1000, NOW - 74, 1, False),
    (NOW - 1000, NOW - 76, 1, True),
    # has not reported since it started: 2 s for each network more
    (NOW - 76, NOW - 76, 1, False),
    (NOW - 78, NOW - 78, 1, True),
    (NOW - 200, NOW - 200, 100, False),
    (NOW - 300, NOW - 300, 100, True),
    # asked what to serve, never reported
    (None, NOW - 200, 100, False),
    (None, NOW - 300, 100, True),
    # reported since it started: no more grace
    (NOW - 200, NOW - 100, 100, True),
]


@pytest.mark.parametrize(("started_at", "heartbeat_at", "networks", "expected"), SILENCES)
def test_is_silent(started_at: float | None, heartbeat_at: float, networks: int, expected: bool) -> None:
    assert failover.is_silent(started_at, heartbeat_at, networks, now=NOW, down_time_s=75.0) is expected


@pytest.fixture
def store() -> Iterator[Store]:
    with bare_store() as made:
        yield made


def test_a_network_goes_to_the_living_agent_with_the_fewest(store: Store) -> None:
    for host, more in (("dead", {"heard_of": NOW - 76}), ("off", {"up": False}), ("a", {}), ("b", {})):
        store.agent(host, **more)
    store.agent("other", agent_type="L3 agent")
    spread = [scheduler.schedule_network(store.tx(), store.network())[1][0].host for _ in range(4)]
    assert spread == ["a", "b", "a", "b"]


def test_as_many_agents_as_configured_and_no_more(store: Store) -> None:
    store.config = dataclasses.replace(CONFIG, dhcp_agents_per_network=2)
    network_id = store.network()
    store.agent("a")
    hosting, new = scheduler.schedule_network(store.tx(), network_id)
    assert [agent.host for agent in new] == ["a"]
    assert hosting == new
    for host in ("b", "c"):
        store.agent(host)
    hosting, new = scheduler.schedule_network(store.tx(), network_id)
    assert [agent.host for agent in new] == ["b"]
    assert [agent.host for agent in hosting] == ["a", "b"]
    assert scheduler.schedule_network(store.tx(), network_id) == (hosting, [])


def test_hints_keep_a_network_in_its_zones(store: Store) -> None:
    store.agent("a", zone="z1")
    network_id = store.network(hints=["z2", "z3"])
    assert scheduler.schedule_network(store.tx(), network_id) == ([], [])
    store.agent("b", zone="z3")
    assert [agent.host for agent in scheduler.schedule_network(store.tx(), network_id)[1]] == ["b"]
    assert availability_zones.zones_of_networks(store.reading(), [network_id]) == {network_id: ["z3"]}


def test_an_agent_that_asks_gets_what_nobody_serves(store: Store) -> None:
    store.agent("a", zone="z1", heard_of=NOW - 1000)
    plain, hinted = store.network(), store.network(hints=["z1"])
    store.network(hints=["z2"])
    store.network(dhcp=False)
    store.network(up=False)
    assert sorted(scheduler.auto_schedule(store.tx(), "a")) == sorted([plain, hinted])
    # It lives now, and another that asks gets none of them.
    store.agent("b", zone="z1")
    assert scheduler.auto_schedule(store.tx(), "b") == []
    assert store.hosts(plain) == ["a"]


def test_an_agent_that_asks_joins_another_where_two_are_wanted(store: Store) -> None:
    store.config = dataclasses.replace(CONFIG, dhcp_agents_per_network=2)
    network_id = store.network()
    for host in ("a", "b", "c"):
        scheduler.auto_schedule(store.tx(), host)
    assert store.hosts(network_id) == ["a", "b"]
    assert scheduler.auto_schedule(store.tx(), "a") == [network_id]


def test_an_agent_that_is_switched_off_serves_nothing(store: Store) -> None:
    store.network()
    store.agent("a", up=False)
    assert scheduler.auto_schedule(store.tx(), "a") == []


def test_the_port_of_a_server_is_kept_when_its_network_leaves(store: Store) -> None:
    network_id = store.network()
    agent_id = store.agent("a")
    mine, other = store.dhcp_port(network_id, "a"), store.dhcp_port(store.network(), "a")
    assert not scheduler.unbind(store.tx(), network_id, agent_id, "a")
    scheduler.bind(store.tx(), network_id, agent_id)
    assert scheduler.unbind(store.tx(), network_id, agent_id, "a")
    kept = dict(store.connection.execute(sa.select(ports.c.id, ports.c.device_id)).all())
    assert kept[mine] == "reserved_dhcp_port"
    assert kept[other].startswith("dhcp")


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_an_admin_gives_and_takes(store: Store) -> None:
    network_id, agent_id = store.network(), store.agent("a")
    agents.add_network(store.tx(), agent_id, network_id)
    assert [item["id"] for item in agents.networks_of(store.reading(), agent_id)] == [network_id]
    assert [item["id"] for item in agents.agents_of(store.reading(), network_id)] == [agent_id]
    with pytest.raises(errors.NetworkHostedByDHCPAgent):
        agents.add_network(store.tx(), agent_id, network_id)
    agents.remove_network(store.tx(), agent_id, network_id)
    assert agents.networks_of(store.reading(), agent_id) == []
    with pytest.raises(errors.NetworkNotHostedByDhcpAgent):
        agents.remove_network(store.tx(), agent_id, network_id)
    assert store.sent() == [("network_create_end", "a"), ("network_delete_end", "a")]


def test_what_an_admin_cannot_give(store: Store) -> None:
    network_id, agent_id, nowhere = store.network(), store.agent("a"), str(uuid.uuid4())
    for agent, network, error in (
        (nowhere, network_id, errors.AgentNotFound),
        (agent_id, nowhere, errors.NetworkNotFound),
        (store.agent("off", up=False), network_id, errors.InvalidDHCPAgent),
        (store.agent("l3", agent_type="L3 agent"), network_id, errors.InvalidDHCPAgent),
    ):
        with pytest.raises(error):
            agents.add_network(store.tx(), agent, network)
    with pytest.raises(errors.AgentNotFound):
        agents.remove_network(store.tx(), nowhere, network_id)
    with pytest.raises(errors.AgentNotFound):
        agents.networks_of(store.reading(), nowhere)
    assert agents.agents_of(store.reading(), nowhere) == []
    assert store.sent() == []


def test_switching_an_agent_off_tells_it_and_describing_it_does_not(store: Store) -> None:
    agent_id = store.agent("a")

    def update(**changes: Any) -> Any:
        return agents.update(store.tx(), row(store.reading(), agents.RESOURCE, agent_id), changes)

    assert update(description="in the cellar")["description"] == "in the cellar"
    assert update(admin_state_up=True)["admin_state_up"] is True
    assert store.sent() == []
    assert update(admin_state_up=False)["admin_state_up"] is False
    assert store.sent() == [("agent_updated", "a")]


def test_a_forgotten_agent_serves_nothing(store: Store) -> None:
    network_id, agent_id = store.network(), store.agent("a")
    scheduler.bind(store.tx(), network_id, agent_id)
    agents.delete(store.tx(), row(store.reading(), agents.RESOURCE, agent_id))
    assert store.hosts(network_id) == []
    assert store.connection.execute(sa.select(bindings)).all() == []


def test_agents_are_shown_with_the_times_that_clients_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cove.network.agents.time.time", lambda: NOW)
    store.agent("a", configurations={"networks": 2})
    store.agent("b", heard_of=NOW - 76, started_at=None)
    shown = find(store.reading(), agents.RESOURCE, ListQuery(sorts=[("host", True)]))
    assert [(item["host"], item["alive"]) for item in shown] == [("a", True), ("b", False)]
    assert shown[0] | {"id": ""} == {
        "id": "",
        "agent_type": "DHCP agent",
        "binary": "",
        "host": "a",
        "topic": "dhcp_agent",
        "availability_zone": "nova",
        "admin_state_up": True,
        "alive": True,
        "configurations": {"networks": 2},
        "description": None,
        "created_at": "2027-01-15 08:00:00",
        "started_at": "2027-01-15 05:13:20",
        "heartbeat_timestamp": "2027-01-15 08:00:00",
        "resources_synced": None,
    }
    assert shown[1]["started_at"] is None

    def alive(*values: Any) -> list[str]:
        query = ListQuery(filters={"alive": values}, sorts=[("host", True)])
        return [item["host"] for item in find(store.reading(), agents.RESOURCE, query)]

    assert alive(True) == ["a"]
    assert alive("false") == ["b"]
    assert alive(True, False) == ["a", "b"]
    assert alive("perhaps") == []


# --- silent agents ---------------------------------------------------------------------------------------------------


def moves(store: Store) -> tuple[list[tuple[str, str]], set[str]]:
    found, stuck = failover.moves(store.reading(), now=NOW)
    return [(move.network_id, move.host) for move in found], stuck


def the_move(store: Store) -> failover.Move:
    ((move,), _) = failover.moves(store.reading(), now=NOW)
    return move


def test_networks_leave_a_silent_agent_for_one_that_lives(store: Store) -> None:
    dead, network_id = store.agent("dead", heard_of=NOW - 100), store.network()
    scheduler.bind(store.tx(), network_id, dead)
    port_id = store.dhcp_port(network_id, "dead")
    assert moves(store) == ([], {"dead"})  # nobody can take it: it stays, for when the agent is back
    store.agent("a")
    move = the_move(store)
    assert failover.carry_out(store.tx(), move) == ["a"]
    assert store.hosts(network_id) == ["a"]
    assert store.sent() == [("network_create_end", "a")]
    device = store.connection.execute(sa.select(ports.c.device_id).where(ports.c.id == port_id)).scalar_one()
    assert device == "reserved_dhcp_port"
    # Another server that had the same plan comes second.
    assert failover.carry_out(store.tx(), move) == []
    assert store.sent() == []
    assert moves(store) == ([], set())


def test_networks_stay_with_an_agent_that_is_heard_of_again(store: Store) -> None:
    dead, network_id = store.agent("dead", heard_of=NOW - 100), store.network()
    store.agent("a")
    scheduler.bind(store.tx(), network_id, dead)
    move = the_move(store)
    store.connection.execute(sa.update(agents_table).where(agents_table.c.id == dead).values(heartbeat_at=NOW - 1))
    assert failover.carry_out(store.tx(), move) == []
    assert store.hosts(network_id) == ["dead"]


def test_networks_with_hints_move_only_within_their_zones(store: Store) -> None:
    dead = store.agent("dead", heard_of=NOW - 100, zone="z1")
    store.agent("a", zone="z2")
    bound, free = store.network(hints=["z1"]), store.network()
    for network_id in (bound, free):
        scheduler.bind(store.tx(), network_id, dead)
    assert moves(store) == ([(free, "dead")], {"dead"})


def test_moves_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "MOVES_MAX", 2)
    dead = store.agent("dead", heard_of=NOW - 100)
    store.agent("a")
    for _ in range(3):
        scheduler.bind(store.tx(), store.network(), dead)
    assert len(moves(store)[0]) == 2


# --- zones -----------------------------------------------------------------------------------------------------------


def test_zones_are_those_of_the_agents(store: Store) -> None:
    store.agent("a", zone="z2")
    store.agent("b", zone="z1", up=False)
    store.agent("c", zone="z2", up=False)
    store.agent("l3", zone="z9", agent_type="L3 agent")
    z1 = {"name": "z1", "resource": "network", "state": "unavailable"}
    z2 = {"name": "z2", "resource": "network", "state": "available"}
    assert availability_zones.find(store.reading(), {}) == [z1, z2]
    assert availability_zones.find(store.reading(), {"state": ["available"]}) == [z2]
    assert availability_zones.find(store.reading(), {"name": ["z1", "z2"], "resource": ["router"]}) == []
    availability_zones.check_zones(store.reading(), ["z1", "z2"])
    availability_zones.check_zones(store.reading(), [])
    with pytest.raises(errors.AvailabilityZoneNotFound, match="z9"):
        availability_zones.check_zones(store.reading(), ["z1", "z9"])


def test_a_new_subnet_schedules_its_network_and_tells_the_agent_first_of_it(store: Store) -> None:
    network_id = store.network()
    store.agent("a")
    notifier.notify(store.tx(), {"subnet": {"id": "s", "network_id": network_id}}, "subnet.create.end")
    assert store.sent() == [("network_create_end", "a"), ("subnet_create_end", "a")]
