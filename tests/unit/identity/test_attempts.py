"""Failed logins: how many, from where, and for how long; in pure form and as a client sees it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.identity.attempts import ADDRESS_LIMIT, USER_LIMIT, Attempts, Buckets, Limit, counted_as
from tests.unit.identity.lab import DEMO_ID, Lab, by_credential, by_password

LIMIT = Limit(burst=3, refill_s=10.0, lock_s=30.0)
KEY = ("u", "192.0.2.1")


def failures_until_locked(buckets: Buckets, now: float) -> int:
    count = 0
    while not buckets.wait_s(KEY, now):
        buckets.failed(KEY, now)
        count += 1
        assert count < 100
    return count


def test_a_burst_then_a_lock() -> None:
    buckets = Buckets(LIMIT)
    assert failures_until_locked(buckets, 0.0) == 3
    assert buckets.wait_s(KEY, 0.0) == 30.0
    assert buckets.wait_s(KEY, 29.0) == 1.0
    assert buckets.wait_s(KEY, 30.0) == 0.0
    assert buckets.wait_s(("v", "192.0.2.1"), 0.0) == 0.0


def test_what_is_refilled_meanwhile() -> None:
    buckets = Buckets(LIMIT)
    failures_until_locked(buckets, 0.0)
    assert failures_until_locked(buckets, 30.0) == 3, "30 s are three tries"
    assert failures_until_locked(buckets, 1000.0) == 3, "never more than the burst"


def test_success_forgets() -> None:
    buckets = Buckets(LIMIT)
    buckets.failed(KEY, 0.0)
    buckets.failed(KEY, 0.0)
    buckets.succeeded(KEY)
    assert failures_until_locked(buckets, 0.0) == 3
    assert len(buckets) == 1


def test_memory_is_bounded() -> None:
    buckets = Buckets(LIMIT, keys_max=10)
    for n in range(100):
        buckets.failed((str(n),), float(n))
    assert len(buckets) == 10
    assert failures_until_locked(buckets, 100.0) == 3


def test_one_address_may_not_try_many_names() -> None:
    attempts = Attempts()
    tried = 0
    while not attempts.retry_after_s(f"user {tried}", "192.0.2.1", 0.0):
        attempts.failed(f"user {tried}", "192.0.2.1", 0.0)
        tried += 1
    assert tried == ADDRESS_LIMIT.burst
    assert attempts.retry_after_s("admin", "192.0.2.2", 0.0) == 0, "others are not locked out by that"


@given(st.lists(st.floats(min_value=0, max_value=60), max_size=60))
def test_no_pattern_of_tries_gets_more_than_burst_and_refill(gaps: list[float]) -> None:
    buckets, now, taken = Buckets(LIMIT), 0.0, 0
    for gap in gaps:
        now += gap
        if not buckets.wait_s(KEY, now):
            buckets.failed(KEY, now)
            taken += 1
        assert taken <= LIMIT.burst + now / LIMIT.refill_s + 1e-6
        assert buckets.wait_s(KEY, now) <= LIMIT.lock_s + 1e-6


@given(st.lists(st.floats(min_value=-1e9, max_value=1e9), max_size=30))
def test_a_clock_that_jumps_locks_nobody_for_ever(times: list[float]) -> None:
    buckets = Buckets(LIMIT)
    for now in times:
        buckets.failed(KEY, now)
    assert buckets.wait_s(KEY, max(times, default=0.0) + LIMIT.lock_s) <= 1e-6


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_whom_an_address_stands_for(address: str, counted: str) -> None:
    assert counted_as(address) == counted


def test_a_network_of_ipv6_is_one_client() -> None:
    attempts = Attempts()
    for n in range(USER_LIMIT.burst):
        attempts.failed("admin", f"2001:db8::{n:x}", 0.0)
    assert attempts.retry_after_s("admin", "2001:db8::beef", 0.0)
    assert attempts.retry_after_s("admin", "2001:db8:0:1::1", 0.0) == 0
    attempts.succeeded("admin", "2001:db8::1")
    assert attempts.retry_after_s("admin", "2001:db8::2", 0.0) == 0


# --- as a client sees it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["admin", "nobody"])
async def test_too_many_failures(api: Lab, name: str) -> None:
    """Alike for a user that there is and for one that there is not."""
    for _ in range(USER_LIMIT.burst):
        assert (await api.login(by_password(name, "wrong"))).status_code == 401
    for password in ("wrong", api.passwords["admin"]):
        response = await api.login(by_password(name, password))
        assert response.status_code == 429
        assert response.headers["retry-after"] == "30"
        error = response.json()["error"]
        assert (error["code"], error["title"]) == (429, "Too Many Requests")
        assert "30 s" in error["message"]
    api.clock.now += 29.5
    assert (await api.login(by_password(name, "wrong"))).headers["retry-after"] == "1"
    api.clock.now += 0.5
    assert (await api.login(by_password(name, "wrong"))).status_code == 401
    if name == "admin":
        assert (await api.login(by_password(name, api.passwords[name]))).status_code == 201


async def test_by_name_and_by_id_are_the_same_user(api: Lab) -> None:
    user = await api.user("u")
    by_id = {"methods": ["password"], "password": {"user": {"id": user["id"], "password": "wrong"}}}
    for _ in range(USER_LIMIT.burst):
        await api.login(by_id)
    assert (await api.login(by_password("u", "pw"))).status_code == 429


async def test_successes_cost_nothing(api: Lab) -> None:
    for _ in range(3 * USER_LIMIT.burst):
        assert (await api.login(by_password("demo", api.passwords["demo"]))).status_code == 201


async def test_many_guesses_at_once_get_few_answers(api: Lab) -> None:
    answers = await asyncio.gather(*(api.login(by_password("admin", f"guess {n}")) for n in range(50)))
    codes = [answer.status_code for answer in answers]
    # Those that were being hashed when the last failure was noted, one a thread, get through.
    assert USER_LIMIT.burst <= codes.count(401) <= USER_LIMIT.burst + 4
    assert codes.count(429) == 50 - codes.count(401)


async def test_secrets_of_application_credentials(api: Lab) -> None:
    user, _, token = await api.member()
    body = {"application_credential": {"name": "ci"}}
    made = (await api.ok("POST", f"/v3/users/{user['id']}/application_credentials", body, token))[
        "application_credential"
    ]
    for _ in range(USER_LIMIT.burst):
        assert (await api.login(by_credential(id=made["id"], secret="wrong"))).status_code == 401
    assert (await api.login(by_credential(id=made["id"], secret=made["secret"]))).status_code == 429
    assert (await api.login(by_password("u", "pw"))).status_code == 201


async def test_the_old_password_of_a_change(api: Lab) -> None:
    user, _, token = await api.member()
    change = {"user": {"original_password": "wrong", "password": "new"}}
    for _ in range(USER_LIMIT.burst):
        response = await api.call("POST", f"/v3/users/{user['id']}/password", change, token)
        assert response.status_code == 401
    assert (await api.call("POST", f"/v3/users/{user['id']}/password", change, token)).status_code == 429
    assert (await api.login(by_password("u", "pw"))).status_code == 429


async def test_more_logins_than_can_wait(api: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cove.identity.passwords.WAITING_MAX", 2)
    answers = await asyncio.gather(
        *(api.login(by_password("demo", api.passwords["demo"])) for _ in range(10)), return_exceptions=False
    )
    busy = [answer for answer in answers if answer.status_code == 503]
    assert busy
    assert busy[0].headers["retry-after"] == "1"
    assert busy[0].json()["error"]["title"] == "Service Unavailable"
    assert any(answer.status_code == 201 for answer in answers)


@pytest.mark.parametrize("name", ["demo", "nobody"])
async def test_the_domains_two_names_do_not_tell_who_exists(api: Lab, name: str) -> None:
    """Locked by the id of the domain is locked by its name, whether there is such a user or not."""
    for _ in range(USER_LIMIT.burst):
        assert (await api.login(by_password(name, "wrong"))).status_code == 401
    user = {"name": name, "domain": {"name": "Default"}, "password": "wrong"}
    response = await api.login({"methods": ["password"], "password": {"user": user}})
    assert response.status_code == 429


async def test_names_of_credentials_are_counted_for_their_user(api: Lab) -> None:
    """Else a name that is locked for one user, and not for the other, is known to be there."""
    user, _, token = await api.member()
    path = f"/v3/users/{user['id']}/application_credentials"
    await api.ok("POST", path, {"application_credential": {"name": "ci"}}, token)
    demo, mine = {"id": DEMO_ID}, {"id": user["id"]}
    for _ in range(USER_LIMIT.burst):
        assert (await api.login(by_credential(name="ci", user=demo, secret="x"))).status_code == 401
    by_name = {"name": "demo", "domain": {"name": "Default"}}
    assert (await api.login(by_credential(name="ci", user=by_name, secret="x"))).status_code == 429
    for credential in ("ci", "other"):
        assert (await api.login(by_credential(name=credential, user=mine, secret="x"))).status_code == 401


async def test_a_clock_that_is_set_back_locks_nobody_out(api: Lab) -> None:
    """Locks are measured by a clock that nobody sets."""
    for _ in range(USER_LIMIT.burst):
        await api.login(by_password("demo", "wrong"))
    api.clock.step(-86400.0)
    assert (await api.login(by_password("demo", "wrong"))).headers["retry-after"] == "30"
    api.clock.now += 30.0
    assert (await api.login(by_password("demo", api.passwords["demo"]))).status_code == 201
