"""Requests that two readers could understand differently, addresses in links, and bodies that never come."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.types import Message

from cove.api import create_app
from cove.api.middleware import BODY_BYTES_MAX
from tests.unit.api.conftest import TOKEN
from tests.unit.network.fakes import Cloud

EVIL = "evil.example"
Headers = list[tuple[bytes, bytes]]
TOKEN_HEADER = (b"x-auth-token", TOKEN.encode())
HOST = (b"host", b"cove.test")


async def ask(
    c: Cloud, headers: Headers, *messages: Message, method: str = "GET", path: str = "/v2.0/networks", **more: Any
) -> tuple[int, dict[bytes, bytes], bytes]:
    """The answer to a request as the server hands it over, whatever a client's library thinks of it."""
    app = create_app(c.settings.model_copy(update=more.pop("settings", {})), c.service, [], TOKEN)
    sent: list[Message] = []
    waiting = list(messages) or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "",
        "client": ("192.0.2.7", 1), "server": ("127.0.0.1", 9696), **more,
    }  # fmt: skip
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([(b"host", b"other")], "host"),
        ([(b"x-auth-token", TOKEN.encode())], "x-auth-token"),
        ([(b"x-auth-token", b"other")], "x-auth-token"),
        ([(b"x-project-id", b"a"), (b"x-project-id", b"b")], "x-project-id"),
        ([(b"content-length", b"1"), (b"content-length", b"1")], "content-length"),
        ([(b"transfer-encoding", b"gzip, chunked")], "transfer-encoding"),
        ([(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity")], "transfer-encoding"),
    ],
)
async def test_headers_that_could_be_read_in_two_ways(c: Cloud, more: Headers, says: str) -> None:
    assert (await ask(c, [HOST, TOKEN_HEADER]))[0] == 200
    code, _, body = await ask(c, [HOST, TOKEN_HEADER, *more])
    assert code == 400
    assert says.encode() in body
    assert b"other" not in body


async def test_strangers_are_told_that_too(c: Cloud) -> None:
    assert (await ask(c, [HOST, HOST], path="/"))[0] == 400


@pytest.mark.parametrize(
    "host",
    [
        "cove.test",
        "cove.test:9696",
        "127.0.0.1:9696",
        "[::1]:9696",
        "my_host.",
        "xn--bcher-kva.example",
    ],
)
async def test_hosts(c: Cloud, host: str) -> None:
    code, _, body = await ask(c, [(b"host", host.encode()), TOKEN_HEADER], path="/")
    assert code == 200
    assert f"http://{host}/v2.0/".encode() in body


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a/b",
        "a?b",
        "a#b",
        "user@a",
        'a"b',
        "a b",
        "a\tb",
        "a:b",
        "a:123456",
        "<a>",
        "a\\b",
        "b\u00fccher",
        "[a",
        "a,b",
    ],
)
@pytest.mark.parametrize("path", ["/", "/v2.0/networks"])
async def test_what_is_no_host(c: Cloud, host: str, path: str) -> None:
    code, _, body = await ask(c, [(b"host", host.encode("latin-1")), TOKEN_HEADER], path=path)
    assert code == 400
    assert b"://" not in body


async def test_a_zone_is_taken_and_not_shown(c: Cloud) -> None:
    """What an interface is called on the client's machine means nothing elsewhere."""
    code, _, body = await ask(c, [(b"host", b"[fe80::1%25eth0]"), TOKEN_HEADER], path="/")
    assert (code, b"eth0" in body) == (200, False)


async def test_no_host(c: Cloud) -> None:
    assert (await ask(c, [TOKEN_HEADER]))[0] == 400
    assert (await ask(c, [TOKEN_HEADER], http_version="1.0"))[0] == 200


@pytest.mark.parametrize("path", ["", "*", "v2.0/networks", "xv2.0/networks"])
async def test_what_is_no_path(c: Cloud, path: str) -> None:
    assert (await ask(c, [HOST, TOKEN_HEADER], path=path))[0] == 400


@pytest.mark.parametrize("path", ["//v2.0/networks", "/v2.0//networks", "/v2.0/../v2.0/networks", "/V2.0/networks"])
async def test_paths_that_only_look_like_others(c: Cloud, path: str) -> None:
    """Nothing is normalised: what a rule says about a path holds for that path, and others are not there."""
    assert (await ask(c, [HOST, TOKEN_HEADER], path=path))[0] in (307, 404)
    assert (await ask(c, [HOST], path=path))[0] == 401
    assert (await ask(c, [HOST], path=f"/healthz/..{path}"))[0] == 401


@pytest.mark.parametrize("path", ["/", "/v2.0/", "/v2.0/networks"])
async def test_nobody_keeps_an_answer(c: Cloud, path: str) -> None:
    """Neither those with somebody's networks, nor those with the links of the address that somebody gave."""
    _, headers, _ = await ask(c, [HOST, TOKEN_HEADER], path=path)
    assert headers[b"cache-control"] == b"no-store"
    _, headers, _ = await ask(c, [HOST], path="/v2.0/networks")
    assert headers[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("path", ["/", "/v2.0/", "/v2.0/networks", "/nothing"])
@pytest.mark.parametrize("token", [[TOKEN_HEADER], []])
async def test_a_public_address_is_the_only_one(c: Cloud, path: str, token: Headers) -> None:
    settings = {"api_public_url": "https://cloud.example"}
    headers = [(b"host", EVIL.encode()), (b"x-forwarded-host", EVIL.encode()), *token]
    code, answered, body = await ask(c, headers, path=path, settings=settings)
    assert EVIL.encode() not in body + b"".join(answered.values())
    if code == 401:
        assert answered[b"www-authenticate"] == b'Keystone uri="https://cloud.example/v3"'
    elif path in ("/", "/v2.0/"):
        assert b"https://cloud.example/v2.0/" in body


async def test_a_client_that_goes_before_its_body_is_whole(c: Cloud, capfd: pytest.CaptureFixture[str]) -> None:
    """Anybody can do that as often as they like: it is no error of ours, and fills no log."""
    part = {"type": "http.request", "body": b'{"network"', "more_body": True}
    headers = [HOST, TOKEN_HEADER, (b"content-length", b"100")]
    assert (await ask(c, headers, part, method="POST"))[0] == 400
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"])
@pytest.mark.parametrize("length", [b"%d" % (BODY_BYTES_MAX + 1), b"9" * 5000, b"-1", b"+1", b"1 ", b"x"])
async def test_the_limit_of_the_body_is_every_methods(c: Cloud, method: str, length: bytes) -> None:
    code, _, _ = await ask(c, [HOST, TOKEN_HEADER, (b"content-length", length)], method=method)
    assert code == 413


async def test_no_page_of_another_site_may_read_answers(api: httpx.AsyncClient) -> None:
    response = await api.get("/v2.0/networks", headers={"Origin": f"https://{EVIL}"})
    assert not [name for name in response.headers if name.startswith("access-control")]
