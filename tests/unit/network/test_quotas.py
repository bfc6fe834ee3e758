"""Quotas: counting, refusing, limits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.network import errors, quotas
from cove.network.models import quota_limits, quota_usages
from cove.network.transaction import QUOTA_DEFAULTS, Transaction
from tests.unit.network.transactions import Store, store

P1, P2 = "1" * 32, "2" * 32


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path, quotas={"network": 2, "port": 3, "subnetpool": -1}) as made:
        yield made


def count(db: Store, *changes: tuple[str, str, int], exempt: bool = False) -> None:
    def run(tx: Transaction) -> None:
        for project_id, resource, change in changes:
            if exempt:
                quotas.count_exempt(tx, resource, project_id, change)
            else:
                tx.count(resource, project_id, change)

    db.write(run)


def used(db: Store) -> dict[tuple[str, str], int]:
    rows = db.rows(sa.select(quota_usages.c.project_id, quota_usages.c.resource, quota_usages.c.used))
    return {(project_id, resource): number for project_id, resource, number in rows if number}


def limit(db: Store, project_id: str, **limits: int) -> dict[str, int]:
    return db.write(lambda tx: quotas.set_limits(tx, project_id, limits, force=False))


# --- settling --------------------------------------------------------------------------------------------------------


def test_what_is_counted_is_there_after_the_commit(db: Store) -> None:
    count(db, (P1, "port", 1), (P1, "port", 1), (P2, "port", 3), (P1, "network", 1))
    count(db, (P1, "port", -1))
    assert used(db) == {(P1, "port"): 1, (P2, "port"): 3, (P1, "network"): 1}


def test_one_more_than_the_limit(db: Store) -> None:
    count(db, (P1, "port", 3))
    with pytest.raises(errors.OverQuota) as caught:
        count(db, (P1, "port", 1), (P1, "network", 3), (P1, "subnetpool", 1))
    assert str(caught.value) == "quota exceeded for resources: network (limit 2, wanted 3), port (limit 3, wanted 4)"
    assert caught.value.code == 409
    assert used(db) == {(P1, "port"): 3}
    count(db, (P2, "port", 1))


def test_a_bulk_is_counted_as_a_whole(db: Store) -> None:
    with pytest.raises(errors.OverQuota):
        count(db, *[(P1, "port", 1)] * 4)
    assert used(db) == {}


def test_one_can_always_have_less(db: Store) -> None:
    count(db, (P1, "port", 3))
    limit(db, P1, port=3)
    db.write(lambda tx: quotas.set_limits(tx, P1, {"port": 0}, force=True))
    count(db, (P1, "port", -1))
    with pytest.raises(errors.OverQuota):
        count(db, (P1, "port", 1))
    assert used(db) == {(P1, "port"): 2}


def test_own_limits_beat_the_defaults(db: Store) -> None:
    limit(db, P1, port=5, network=-1, subnetpool=0)
    count(db, (P1, "port", 5), (P1, "network", 100))
    for resource in ("port", "subnetpool"):
        with pytest.raises(errors.OverQuota):
            count(db, (P1, resource, 1))
    with pytest.raises(errors.OverQuota):
        count(db, (P2, "port", 4))


def test_what_the_service_makes_counts_but_is_never_refused(db: Store) -> None:
    count(db, (P1, "port", 4), exempt=True)
    assert used(db) == {(P1, "port"): 4}
    with pytest.raises(errors.OverQuota):
        count(db, (P1, "port", 1))

    def both(tx: Transaction) -> None:
        tx.count("port", P2, 1)
        quotas.count_exempt(tx, "port", P2, 1)

    db.write(both)
    assert used(db)[P2, "port"] == 2


def test_statements(db: Store) -> None:
    db.statements.clear()
    count(db)
    assert db.statements == []
    count(db, (P1, "port", 1))
    assert len([statement for statement in db.statements if "advisory_xact_lock" not in statement]) == 1
    db.statements.clear()
    count(db, (P1, "port", 1), (P1, "port", -1), (P1, "trunk", 1))
    assert db.statements == []


def test_rows_are_taken_in_order(db: Store) -> None:
    seen: list[Any] = []
    sa.event.listen(db.engine, "before_cursor_execute", lambda *given: seen.append(given[3]))
    count(db, (P2, "port", 1), (P1, "port", 1), (P2, "network", 1), (P1, "network", 1))
    assert [tuple(parameters)[:2] for parameters in seen] == sorted(tuple(parameters)[:2] for parameters in seen)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from([P1, P2]), st.sampled_from(["network", "port"]), st.integers(-2, 3)), max_size=4
        ),
        max_size=12,
    )
)
def test_usages_are_the_sum_of_what_was_not_refused(
    tmp_path: Path, transactions: list[list[tuple[str, str, int]]]
) -> None:
    limits = {"network": 2, "port": 3}
    model: dict[tuple[str, str], int] = {}
    with store(tmp_path, quotas=limits) as db:
        with db.engine.begin() as connection:
            connection.execute(sa.delete(quota_usages))
        for changes in transactions:
            wanted: dict[tuple[str, str], int] = {}
            for project_id, resource, change in changes:
                wanted[project_id, resource] = wanted.get((project_id, resource), 0) + change
            over = any(change > 0 and model.get(key, 0) + change > limits[key[1]] for key, change in wanted.items())
            if over:
                with pytest.raises(errors.OverQuota):
                    count(db, *changes)
            else:
                count(db, *changes)
                for key, change in wanted.items():
                    model[key] = model.get(key, 0) + change
        assert used(db) == {key: number for key, number in model.items() if number}


def test_many_threads_get_exactly_what_the_limit_allows(tmp_path: Path) -> None:
    refused: list[errors.OverQuota] = []
    with store(tmp_path, quotas={"port": 20}) as db:

        def one_after_the_other() -> None:
            for _ in range(6):
                try:
                    count(db, (P1, "port", 1))
                except errors.OverQuota as error:
                    refused.append(error)

        threads = [threading.Thread(target=one_after_the_other) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert used(db) == {(P1, "port"): 20}
        assert len(refused) == 16


# --- limits ----------------------------------------------------------------------------------------------------------


def test_defaults_are_neutrons() -> None:
    assert QUOTA_DEFAULTS == {
        "network": 100,
        "subnet": 100,
        "port": 500,
        "subnetpool": -1,
        "security_group": 10,
        "security_group_rule": 100,
        "rbac_policy": 10,
    }


def test_limits_of_a_project(db: Store) -> None:
    assert db.read(lambda reading: quotas.limits(reading, P1)) == {"network": 2, "port": 3, "subnetpool": -1}
    assert limit(db, P1, port=7) == {"network": 2, "port": 7, "subnetpool": -1}
    assert limit(db, P1, port=8, network=0) == {"network": 0, "port": 8, "subnetpool": -1}
    assert db.read(lambda reading: quotas.limits(reading, P2)) == {"network": 2, "port": 3, "subnetpool": -1}
    assert db.read(quotas.all_limits) == [
        {"network": 0, "port": 8, "subnetpool": -1, "project_id": P1, "tenant_id": P1}
    ]


def test_a_limit_of_a_resource_that_is_no_longer_counted_is_not_shown(db: Store) -> None:
    db.insert(quota_limits, project_id=P1, resource="router", limit=3)
    assert "router" not in db.read(lambda reading: quotas.limits(reading, P1))


def test_reset(db: Store) -> None:
    limit(db, P1, port=7)
    db.write(lambda tx: quotas.reset(tx, P1))
    assert db.read(quotas.all_limits) == []
    with pytest.raises(errors.TenantQuotaNotFound):
        db.write(lambda tx: quotas.reset(tx, P1))


def test_details(db: Store) -> None:
    count(db, (P1, "port", 2))
    limit(db, P1, port=7)
    assert db.read(lambda reading: quotas.details(reading, P1)) == {
        "network": {"limit": 2, "used": 0, "reserved": 0},
        "port": {"limit": 7, "used": 2, "reserved": 0},
        "subnetpool": {"limit": -1, "used": 0, "reserved": 0},
    }


def test_a_limit_below_what_is_used_needs_force(db: Store) -> None:
    count(db, (P1, "port", 2))
    with pytest.raises(errors.HTTPBadRequest, match="below the 2 that the project has"):
        limit(db, P1, port=1, network=5)
    assert db.read(quotas.all_limits) == []
    limit(db, P1, port=2)
    limit(db, P1, port=-1)
    assert db.write(lambda tx: quotas.set_limits(tx, P1, {"port": 0}, force=True))["port"] == 0


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "limits", "force"),
    [
        ({"quota": {"port": 5}}, {"port": 5}, False),
        ({"quota": {"port": "5", "network": -1, "force": True}}, {"port": 5, "network": -1}, True),
        ({"quota": {"port": 0, "check_limit": True, "force": False}}, {"port": 0}, False),
        ({"quota": {}}, {}, False),
    ],
)
def test_bodies(body: Any, limits: dict[str, int], force: bool) -> None:
    assert quotas.checked(body, ("network", "port")) == (limits, force)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, errors.HTTPBadRequest),
        ([], errors.HTTPBadRequest),
        ({}, errors.HTTPBadRequest),
        ({"quota": []}, errors.HTTPBadRequest),
        ({"quota": {"router": 1}}, errors.HTTPBadRequest),
        ({"quota": {"project_id": P1}}, errors.HTTPBadRequest),
        ({"quota": {"port": -2}}, errors.HTTPBadRequest),
        ({"quota": {"port": 1 << 31}}, errors.HTTPBadRequest),
        ({"quota": {"port": "many"}}, errors.InvalidInput),
        ({"quota": {"port": None}}, errors.InvalidInput),
        ({"quota": {"port": True}}, errors.InvalidInput),
        ({"quota": {"port": 1.5}}, errors.InvalidInput),
    ],
)
def test_bodies_that_are_refused(body: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        quotas.checked(body, ("network", "port"))
