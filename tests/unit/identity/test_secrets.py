"""No password, secret or token in logs, errors, the database, or what objects print of themselves."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import structlog

from cove.identity.authentication import Proof
from cove.identity.call import Call
from cove.identity.clouds import render
from cove.identity.login import parse
from cove.identity.policy import Caller
from tests.unit.identity.lab import LOCAL_TOKEN, Lab, by_credential, by_password, by_token, lab

SESAME = "open-sesame-71d3"


async def everything_with_secrets(api: Lab) -> set[str]:
    """Use each path on which a secret travels, rightly and wrongly; the secrets."""
    secrets = {SESAME, *api.passwords.values(), LOCAL_TOKEN}
    user, project, token = await api.member()
    secrets.add(token)
    path = f"/v3/users/{user['id']}"
    await api.login(by_password(SESAME, SESAME, SESAME))
    await api.login(by_password("admin", SESAME))
    await api.login(by_token(SESAME))
    await api.http.post("/v3/auth/tokens", content=f'{{"auth": {{"password": "{SESAME}"'.encode())
    await api.http.post("/v3/auth/tokens", json={"auth": {"identity": {"methods": ["password"], "password": SESAME}}})
    await api.call("PATCH", path, {"user": {"password": SESAME, "name": 3}}, LOCAL_TOKEN)
    await api.call("PATCH", path, {"user": {"password": [SESAME]}}, LOCAL_TOKEN)
    await api.ok("PATCH", path, {"user": {"password": SESAME}})
    token = await api.token("u", SESAME, project={"id": project["id"]})
    secrets.add(token)
    body = {"application_credential": {"name": "ci"}}
    made = (await api.ok("POST", f"{path}/application_credentials", body, token))["application_credential"]
    secrets.add(made["secret"])
    body = {"application_credential": {"name": "ci", "secret": SESAME}}
    await api.call("POST", f"{path}/application_credentials", body, token)
    for secret in (made["secret"], SESAME):
        response = await api.login(by_credential(id=made["id"], secret=secret))
        secrets.add(response.headers.get("x-subject-token", SESAME))
    change = {"user": {"original_password": SESAME, "password": "next-" + SESAME}}
    await api.ok("POST", f"{path}/password", change, token)
    await api.call("POST", f"{path}/password", change, LOCAL_TOKEN)
    await api.call("DELETE", "/v3/auth/tokens", token=LOCAL_TOKEN, x_subject_token=SESAME)
    return secrets


async def test_logs(tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        async with lab(tmp_path) as api:
            secrets = await everything_with_secrets(api)
    assert any(entry["event"] == "identity.login_failed" for entry in logs)
    assert any(entry["event"] == "identity.login" for entry in logs)
    captured = capfd.readouterr()
    everything = f"{logs} {caplog.text} {captured.out} {captured.err}"
    for secret in secrets:
        assert secret not in everything


async def test_the_database(tmp_path: Path) -> None:
    async with lab(tmp_path) as api:
        secrets = await everything_with_secrets(api)
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("cove.sqlite*"))
    assert b"$argon2id$" in raw
    for secret in secrets - {SESAME}:
        assert secret.encode() not in raw
    assert raw.count(SESAME.encode()) == 0


async def test_answers_and_what_objects_print(api: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[str] = []
    request = api.http.request

    async def noting(*args: Any, **kwargs: Any) -> Any:
        response = await request(*args, **kwargs)
        if response.is_error:
            errors.append(response.text)
        return response

    monkeypatch.setattr(api.http, "request", noting)
    secrets = await everything_with_secrets(api)
    assert len(errors) > 5
    for secret in secrets:
        assert not any(secret in text for text in errors)
    # A token that was validated is known by its hash alone.
    assert not any(secret in repr(vars(api.service.cache)) for secret in secrets)


async def test_clouds(api: Lab) -> None:
    text = render("http://192.0.2.1:9696/v3", api.settings.state_dir)
    assert "  cove:\n" in text
    assert "  cove-demo:\n" in text
    for password in api.passwords.values():
        assert f'      password: "{password}"\n' in text
    (api.settings.state_dir / "demo-password").write_text("")
    assert "cove-demo" not in render("http://192.0.2.1:9696/v3", api.settings.state_dir), "not known here"
    (api.settings.state_dir / "admin-password").unlink()
    assert render("http://192.0.2.1:9696/v3", api.settings.state_dir) == "clouds: {}\n"


async def test_what_is_on_its_way_prints_no_secret(api: Lab) -> None:
    """Tracebacks of tools, and log lines with whole objects, are where secrets get out."""
    seen: list[str] = []
    hashed = "$argon2id$hash-of-" + SESAME

    def handler(call: Call) -> None:
        seen.append(repr(call))

    body = {"user": {"password": SESAME}}
    request = {"caller": Caller(), "params": {}, "query": [], "base": "", "v3": ""}
    await api.service.read(handler, **request, body=body, prepared=hashed)
    seen.append(repr(Proof("u", password_hash=hashed, secret_hash=hashed)))
    login = parse({"auth": {"identity": by_password("demo", api.passwords["demo"])}})
    issued = await api.service.authentication.log_in(login, "192.0.2.7", "", with_catalog=False)
    seen.append(repr(issued))
    assert len(seen) == 3
    for secret in (SESAME, hashed, issued.text, api.passwords["demo"]):
        assert secret not in "".join(seen)
