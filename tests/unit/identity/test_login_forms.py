"""The grammar of POST /auth/tokens: what is taken, and how each error is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.identity import login
from cove.identity.errors import IdentityError
from tests.unit.identity.lab import Lab, by_credential, by_password

USER = {"id": "u", "password": "pw"}
PASSWORD = {"methods": ["password"], "password": {"user": USER}}
PROJECT = {"id": "p"}


def body(identity: Any, *scope: Any) -> dict[str, Any]:
    return {"auth": {"identity": identity} | ({"scope": scope[0]} if scope else {})}


REFUSED: list[tuple[Any, int, str]] = [
    (None, 400, "find auth in request body"),
    ([], 400, "find auth in request body"),
    ("x", 400, "find auth in request body"),
    ({}, 400, "find auth in request body"),
    ({"auth": []}, 400, "find auth in request body"),
    ({"auth": {}}, 400, "find identity in auth"),
    (body({}), 400, "methods"),
    (body({"methods": "password"}), 400, "methods"),
    (body({"methods": [1]}), 400, "methods"),
    (body({"methods": []}), 401, "requires authentication"),
    (body({"methods": ["oauth1"]}), 401, "unsupported method"),
    (body({"methods": ["password", "totp"], "password": {"user": USER}}), 401, "unsupported method"),
    (body({"methods": ["password"]}), 400, "find password in identity"),
    (body({"methods": ["password"], "password": {}}), 400, "find user in password"),
    (body({"methods": ["password"], "password": {"user": {"id": "u"}}}), 400, "find password"),
    (body({"methods": ["password"], "password": {"user": {"id": "u", "password": 1}}}), 400, "find password"),
    (body({"methods": ["password"], "password": {"user": {"id": "u", "password": "x" * 4097}}}), 400, "find password"),
    (body({"methods": ["password"], "password": {"user": {"password": "x"}}}), 400, "id or name in user"),
    (body({"methods": ["password"], "password": {"user": {"name": "u", "password": "x"}}}), 400, "domain in user"),
    (
        body({"methods": ["password"], "password": {"user": {"name": "u", "domain": {}, "password": "x"}}}),
        400,
        "id or name in domain",
    ),
    (body({"methods": ["password"], "password": {"user": {"id": "u" * 256, "password": "x"}}}), 400, "find id"),
    (body({"methods": ["password"], "password": {"user": {"id": "u\0", "password": "x"}}}), 400, "find id"),
    (body({"methods": ["token"]}), 400, "find token in identity"),
    (body({"methods": ["token"], "token": {}}), 400, "find id"),
    (body({"methods": ["application_credential"]}), 400, "find application_credential"),
    (body(by_credential(id="x")), 400, "find secret"),
    (body(by_credential(secret="x")), 400, "id or name"),
    (body(by_credential(name="x", secret="x")), 400, "find user"),
    (body(PASSWORD, "everything"), 400, "in scope"),
    (body(PASSWORD, []), 400, "in scope"),
    (body(PASSWORD, {}), 400, "in scope"),
    (body(PASSWORD, {"OS-TRUST:trust": {"id": "x"}}), 400, "in scope"),
    (body(PASSWORD, {"project": PROJECT, "domain": {"id": "d"}}), 400, "in scope"),
    (body(PASSWORD, {"project": {}}), 400, "id or name in project"),
    (body(PASSWORD, {"project": {"name": "p"}}), 400, "domain in project"),
    (body(PASSWORD, {"domain": {}}), 400, "id or name in domain"),
    (body(PASSWORD, {"system": {}}), 400, "system"),
    (body(PASSWORD, {"system": {"all": False}}), 400, "system"),
]


@pytest.mark.parametrize(("sent", "code", "says"), REFUSED)
async def test_errors(api: Lab, sent: Any, code: int, says: str) -> None:
    response = await api.http.post("/v3/auth/tokens", json=sent)
    assert response.status_code == code
    error = response.json()["error"]
    assert set(error) == {"code", "title", "message"}
    assert error["code"] == code
    assert error["title"] == {400: "Bad Request", 401: "Unauthorized"}[code]
    assert says in error["message"]
    assert ("www-authenticate" in response.headers) == (code == 401)


@pytest.mark.parametrize("sent", [b"", b"{", b"\xff", b'{"auth": "\xff"}', b"[" * 100_000])
async def test_what_is_no_json(api: Lab, sent: bytes) -> None:
    response = await api.http.post("/v3/auth/tokens", content=sent)
    # So deep a body is over the limit for strangers.
    assert response.status_code == (413 if len(sent) > 65536 else 400)
    assert response.json()["error"]["code"] == response.status_code


async def test_strangers_may_send_little(api: Lab) -> None:
    big = body(by_password("admin", "x")) | {"more": "x" * 65536}
    response = await api.http.post("/v3/auth/tokens", json=big)
    assert (response.status_code, response.json()["error"]["title"]) == (413, "Request Entity Too Large")


ACCEPTED: list[tuple[Any, login.ScopeRef]] = [
    (body(PASSWORD), login.DEFAULT_SCOPE),
    (body(PASSWORD, None), login.DEFAULT_SCOPE),
    (body(PASSWORD, "unscoped"), login.ScopeRef(unscoped=True)),
    (body(PASSWORD, {"unscoped": {}}), login.ScopeRef(unscoped=True)),
    (body(PASSWORD, {"system": {"all": True}}), login.ScopeRef(system=True)),
    (body(PASSWORD, {"project": PROJECT}), login.ScopeRef(project=login.Ref(id="p"))),
    (
        body(PASSWORD, {"project": {"name": "p", "domain": {"name": "d"}}}),
        login.ScopeRef(project=login.Ref(name="p", domain=login.DomainRef(name="d"))),
    ),
    (body(PASSWORD, {"domain": {"name": "d"}}), login.ScopeRef(domain=login.DomainRef(name="d"))),
]


@pytest.mark.parametrize(("sent", "scope"), ACCEPTED)
def test_scopes(sent: Any, scope: login.ScopeRef) -> None:
    parsed = login.parse(sent)
    assert parsed.scope == scope
    assert parsed.password == login.PasswordMethod(login.Ref(id="u"), "pw")


def test_methods_are_taken_once() -> None:
    identity = {"methods": ["password", "token", "password"], "password": {"user": USER}, "token": {"id": "t"}}
    assert login.parse(body(identity)).methods == ("password", "token")


def test_secrets_are_not_in_what_is_printed() -> None:
    both = {
        "methods": ["password", "token", "application_credential"],
        "password": {"user": {"id": "u", "password": "sesame"}},
        "token": {"id": "sesame"},
        "application_credential": {"id": "c", "secret": "sesame"},
    }
    assert "sesame" not in repr(login.parse(body(both)))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["auth", "identity", "methods", "password", "user", "id", "name", "domain", "scope", "project", "token"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json, json)
def test_any_json_is_a_login_or_an_error_of_the_api(identity: Any, scope: Any) -> None:
    codes = set()
    for sent in (identity, {"auth": identity}, body(identity, scope), body(PASSWORD, scope)):
        try:
            parsed = login.parse(sent)
        except IdentityError as error:
            codes.add(error.code)
        else:
            assert parsed.methods
    assert codes <= {400, 401}
