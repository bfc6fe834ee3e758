"""Tokens of a Keystone, which is played here: what is asked, how often, and what its bad days do to our clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog

from cove.api.auth import IdentityUnavailable, Unauthorized
from cove.api.keystone import (
    ANSWER_BYTES_MAX,
    ASKING_MAX,
    CACHE_S,
    DOWN_S,
    REFUSED_CACHE_S,
    KeystoneAuthenticator,
    checked_url,
    read_secret,
)
from cove.config import Settings
from cove.errors import CoveError
from cove.identity import times

START = 1_800_000_000.0
PASSWORD = "swordfish"


@dataclass
class Keystone:
    """Identity v3 as far as it is needed. `tokens` are its users'; `answer` replaces what it says."""

    now: float = START
    stepped: float = 0.0
    """By how much somebody has set the clock."""
    own: str = "own-1"
    requests: list[httpx.Request] = field(default_factory=list)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    answer: httpx.Response | Exception | None = None
    login_answer: httpx.Response | None = None
    gate: asyncio.Event | None = None
    own_lifetime_s: float = 3600.0

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert str(request.url).startswith("https://keystone.test:5000/v3/auth/tokens?nocatalog")
        if request.method == "POST":
            if self.login_answer is not None:
                return self.login_answer
            user = msgspec.json.decode(request.content)["auth"]["identity"]["password"]["user"]
            assert user == {"name": "cove", "domain": {"name": "Default"}, "password": PASSWORD}
            body = {"token": {"expires_at": times.shown(self.now + self.own_lifetime_s)}}
            return httpx.Response(201, json=body, headers={"X-Subject-Token": self.own})
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        if request.headers["x-auth-token"] != self.own:
            return httpx.Response(401)
        found = self.tokens.get(request.headers["x-subject-token"])
        return httpx.Response(404) if found is None else httpx.Response(200, json={"token": found})


def token(now: float = START, **more: Any) -> dict[str, Any]:
    domain = {"id": "default", "name": "Default"}
    return {
        "user": {"id": "u", "name": "ann", "domain": domain},
        "project": {"id": "p", "name": "lab", "domain": domain},
        "roles": [{"id": "1", "name": "member"}, {"id": "2", "name": "reader"}],
        "expires_at": times.shown(now + 3600),
        **more,
    }


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def settings(password_file: Path) -> Settings:
    return Settings(identity="https://keystone.test:5000/v3", identity_password_file=password_file)


@pytest.fixture
def keystone() -> Keystone:
    return Keystone(tokens={"t": token()})


@pytest.fixture
def authenticator(keystone: Keystone, settings: Settings) -> KeystoneAuthenticator:
    def clock() -> float:
        return keystone.now

    def steady() -> float:
        return keystone.now - keystone.stepped

    return KeystoneAuthenticator(settings, transport=httpx.MockTransport(keystone), now=clock, monotonic=steady)


async def test_who_it_is(authenticator: KeystoneAuthenticator) -> None:
    context = await authenticator.authenticate("t")
    assert (context.project_id, context.project_name) == ("p", "lab")
    assert (context.user_id, context.user_name) == ("u", "ann")
    assert context.roles == {"member", "reader"}
    assert not context.is_admin
    assert (context.domain_id, context.system_scope) == ("", "")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"project": None, "system": {"all": True}}, ("", "", "all")),
        ({"project": None, "domain": {"id": "d", "name": "D"}}, ("", "d", "")),
        ({"project": None, "roles": []}, ("", "", "")),
    ],
)
async def test_scopes(
    authenticator: KeystoneAuthenticator, keystone: Keystone, scope: Any, expected: tuple[str, str, str]
) -> None:
    keystone.tokens["t"] = {key: value for key, value in token(**scope).items() if value is not None}
    context = await authenticator.authenticate("t")
    assert (context.project_id, context.domain_id, context.system_scope) == expected


async def test_answers_are_kept_for_a_while(authenticator: KeystoneAuthenticator, keystone: Keystone) -> None:
    for _ in range(10):
        await authenticator.authenticate("t")
    assert (keystone.count("POST"), keystone.count("GET")) == (1, 1)
    del keystone.tokens["t"]
    keystone.now += CACHE_S - 1
    await authenticator.authenticate("t")
    keystone.now += 1
    with pytest.raises(Unauthorized):
        await authenticator.authenticate("t")
    assert CACHE_S <= 60


async def test_none_is_kept_beyond_its_end(authenticator: KeystoneAuthenticator, keystone: Keystone) -> None:
    keystone.tokens["t"] = token(expires_at=times.shown(START + 5))
    await authenticator.authenticate("t")
    keystone.now += 5
    with pytest.raises(Unauthorized):
        await authenticator.authenticate("t")


async def test_unknown_tokens_are_asked_for_once_in_a_while(
    authenticator: KeystoneAuthenticator, keystone: Keystone
) -> None:
    for _ in range(10):
        with pytest.raises(Unauthorized):
            await authenticator.authenticate("x")
    assert keystone.count("GET") == 1
    keystone.tokens["x"] = token()
    keystone.now += REFUSED_CACHE_S
    await authenticator.authenticate("x")


@pytest.mark.parametrize("bad", ["", "x" * 8193, "a\nb", "a\tb", "a\n", " a", "a b", "t\u00f6ken"])
async def test_what_can_be_no_token_is_not_asked_about(
    authenticator: KeystoneAuthenticator, keystone: Keystone, bad: str
) -> None:
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(bad)
    assert keystone.requests == []


async def test_many_at_once_are_one_question(authenticator: KeystoneAuthenticator, keystone: Keystone) -> None:
    keystone.gate = asyncio.Event()
    waiting = [asyncio.create_task(authenticator.authenticate("t")) for _ in range(20)]
    while not keystone.count("GET"):
        await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    keystone.gate.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in done) == 1
    assert keystone.count("GET") == 1


async def test_memory_is_bounded(
    authenticator: KeystoneAuthenticator, keystone: Keystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.api.keystone.CACHED_MAX", 5)
    for n in range(20):
        with pytest.raises(Unauthorized):
            await authenticator.authenticate(f"x{n}")
    assert len(authenticator._refused) == 5
    for n in range(20):
        keystone.tokens[f"y{n}"] = token()
        await authenticator.authenticate(f"y{n}")
    assert (len(authenticator._kept), len(authenticator._refused)) == (5, 5)
    assert authenticator._asking == {}


# --- our own token ---------------------------------------------------------------------------------------------------


async def test_it_is_renewed_before_it_ends(authenticator: KeystoneAuthenticator, keystone: Keystone) -> None:
    await authenticator.authenticate("t")
    keystone.now += 3600 - 61
    keystone.tokens["t"] = token(keystone.now)
    await authenticator.authenticate("t")
    assert keystone.count("POST") == 1
    keystone.now += CACHE_S
    keystone.own = "own-2"
    await authenticator.authenticate("t")
    assert keystone.count("POST") == 2


async def test_it_is_renewed_when_it_was_revoked(authenticator: KeystoneAuthenticator, keystone: Keystone) -> None:
    await authenticator.authenticate("t")
    keystone.own = "own-2"
    keystone.now += CACHE_S
    await authenticator.authenticate("t")
    assert keystone.count("POST") == 2


# --- bad days --------------------------------------------------------------------------------------------------------

BAD: list[httpx.Response | Exception] = [
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("silence"),
    httpx.Response(500),
    httpx.Response(503),
    httpx.Response(403),
    httpx.Response(302, headers={"Location": "https://elsewhere.test/"}),
    httpx.Response(401),
    httpx.Response(200, content=b"<html>"),
    httpx.Response(200, json=[]),
    httpx.Response(200, json={"token": {}}),
    httpx.Response(200, json={"token": {**token(), "expires_at": "soon"}}),
    httpx.Response(200, json={"token": {**token(), "roles": [1]}}),
    httpx.Response(200, json={"token": {**token(), "roles": [{"name": 7}]}}),
    httpx.Response(200, json={"token": {**token(), "user": {"id": ""}}}),
    httpx.Response(200, json={"token": {**token(), "project": {"id": ["p"]}}}),
    httpx.Response(200, json={"token": {**token(), "expires_at": 7}}),
    httpx.Response(200, content=b"[" * 100_000),
]


@pytest.mark.parametrize("answer", BAD, ids=repr)
async def test_no_bad_answer_is_taken_for_a_refusal(
    authenticator: KeystoneAuthenticator, keystone: Keystone, answer: httpx.Response | Exception
) -> None:
    keystone.answer = answer
    with structlog.testing.capture_logs() as logs, pytest.raises(IdentityUnavailable, match="not available"):
        await authenticator.authenticate("t")
    assert logs[0]["event"] == "keystone.unavailable"
    assert PASSWORD not in str(logs)
    assert "own-1" not in str(logs)
    keystone.answer = None
    if isinstance(answer, httpx.HTTPError):
        keystone.now += DOWN_S
    assert (await authenticator.authenticate("t")).user_id == "u", "and it is asked again at once"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401),
        httpx.Response(500),
        httpx.Response(201, json={}),
        httpx.Response(201, json={"token": {"expires_at": "x"}}),
        httpx.Response(201, json={"token": {"expires_at": times.shown(START)}}),
    ],
)
async def test_our_own_login_fails(
    authenticator: KeystoneAuthenticator, keystone: Keystone, answer: httpx.Response
) -> None:
    keystone.login_answer = answer
    with structlog.testing.capture_logs() as logs, pytest.raises(IdentityUnavailable):
        await authenticator.authenticate("t")
    assert PASSWORD not in str(logs)
    keystone.login_answer = None
    await authenticator.authenticate("t")


async def test_what_is_known_is_good_while_keystone_is_away(
    authenticator: KeystoneAuthenticator, keystone: Keystone
) -> None:
    await authenticator.authenticate("t")
    keystone.answer = httpx.ConnectError("refused")
    await authenticator.authenticate("t")
    keystone.now += CACHE_S
    with pytest.raises(IdentityUnavailable):
        await authenticator.authenticate("t")


async def test_while_it_is_down_it_is_asked_now_and_then(
    authenticator: KeystoneAuthenticator, keystone: Keystone
) -> None:
    """Each question costs its time-out: hundreds that wait for each other's would take the API along for minutes."""
    keystone.answer = httpx.ConnectTimeout("silence")
    for n in range(20):
        with pytest.raises(IdentityUnavailable):
            await authenticator.authenticate(f"x{n}")
    assert keystone.count("GET") == 1
    keystone.answer = None
    keystone.now += DOWN_S
    await authenticator.authenticate("t")


async def test_who_waits_for_room_learns_that_it_is_down(
    authenticator: KeystoneAuthenticator, keystone: Keystone
) -> None:
    keystone.gate = asyncio.Event()
    waiting = [asyncio.create_task(authenticator.authenticate(f"x{n}")) for n in range(3 * ASKING_MAX)]
    while keystone.count("GET") < ASKING_MAX:
        await asyncio.sleep(0)
    keystone.answer = httpx.ConnectError("refused")
    keystone.gate.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, IdentityUnavailable) for one in done)
    assert keystone.count("GET") == ASKING_MAX


async def test_only_so_many_wait(
    authenticator: KeystoneAuthenticator, keystone: Keystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.api.keystone.WAITING_MAX", 2)
    await authenticator.authenticate("t")
    keystone.gate = asyncio.Event()
    waiting = [asyncio.create_task(authenticator.authenticate(f"x{n}")) for n in range(2)]
    while keystone.count("GET") < 3:
        await asyncio.sleep(0)
    with pytest.raises(IdentityUnavailable):
        await authenticator.authenticate("x2")
    assert (await authenticator.authenticate("t")).user_id == "u", "what is known needs no room"
    keystone.gate.set()
    assert all(isinstance(one, Unauthorized) for one in await asyncio.gather(*waiting, return_exceptions=True))


async def test_forged_tokens_do_not_drive_out_good_ones(
    authenticator: KeystoneAuthenticator, keystone: Keystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.api.keystone.CACHED_MAX", 5)
    await authenticator.authenticate("t")
    for n in range(20):
        with pytest.raises(Unauthorized):
            await authenticator.authenticate(f"x{n}")
    asked = keystone.count("GET")
    await authenticator.authenticate("t")
    assert keystone.count("GET") == asked


@pytest.mark.parametrize("step", [-86400.0, 600.0])
async def test_a_clock_that_is_set_does_not_keep_a_revoked_token(
    authenticator: KeystoneAuthenticator, keystone: Keystone, step: float
) -> None:
    await authenticator.authenticate("t")
    del keystone.tokens["t"]
    keystone.now += step
    keystone.stepped += step
    await authenticator.authenticate("t")
    keystone.now += CACHE_S
    with pytest.raises(Unauthorized):
        await authenticator.authenticate("t")


async def test_an_answer_without_end(authenticator: KeystoneAuthenticator, keystone: Keystone) -> None:
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * ANSWER_BYTES_MAX:
            sent += 65536
            yield b" " * 65536

    keystone.answer = httpx.Response(200, content=flood())
    with pytest.raises(IdentityUnavailable):
        await authenticator.authenticate("t")
    assert sent <= ANSWER_BYTES_MAX + 2 * 65536


async def test_close(authenticator: KeystoneAuthenticator, keystone: Keystone) -> None:
    keystone.gate = asyncio.Event()
    asking = asyncio.create_task(authenticator.authenticate("t"))
    while not keystone.count("GET"):
        await asyncio.sleep(0)
    await authenticator.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("https://keystone.test:5000/v3", "https://keystone.test:5000/v3"),
        ("https://keystone.test:5000/v3/", "https://keystone.test:5000/v3"),
        ("https://keystone.test:5000", "https://keystone.test:5000/v3"),
        ("https://cloud.test/identity", "https://cloud.test/identity/v3"),
        ("http://127.0.0.1:5000/v3", "http://127.0.0.1:5000/v3"),
        ("http://[::1]:5000", "http://[::1]:5000/v3"),
        ("http://localhost:5000", "http://localhost:5000/v3"),
    ],
)
def test_urls(url: str, used: str) -> None:
    assert checked_url(url) == used


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("keystone.test", "give the URL"),
        ("ftp://keystone.test", "give the URL"),
        ("https://", "give the URL"),
        ("https://user:pw@keystone.test", "give the URL"),
        ("https://keystone.test/?x", "give the URL"),
        ("http://keystone.test:5000/v3", "use https"),
        ("http://192.0.2.1:5000/v3", "use https"),
    ],
)
def test_urls_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(CoveError, match=says):
        checked_url(url)


def test_the_password_file(password_file: Path, tmp_path: Path) -> None:
    assert read_secret(password_file) == PASSWORD
    password_file.chmod(0o640)
    with pytest.raises(CoveError, match="chmod 600"):
        read_secret(password_file)
    password_file.write_text("\n")
    password_file.chmod(0o600)
    with pytest.raises(CoveError, match="empty"):
        read_secret(password_file)
    with pytest.raises(CoveError, match="No such file"):
        read_secret(tmp_path / "nothing")


def test_a_ca_file_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    broken = settings.model_copy(update={"identity_ca_file": str(tmp_path / "nothing")})
    with pytest.raises(CoveError, match="identity_ca_file"):
        KeystoneAuthenticator(broken)
