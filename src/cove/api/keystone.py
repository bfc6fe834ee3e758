"""Tokens of a real Keystone: it is asked, with a token of Cove's own user, whose a token is, and the answer is kept.

    authenticate → kept answer (CACHE_S) → GET /auth/tokens (one at a time for each token, few at once)
                                         → own token, renewed a while before it expires, or when Keystone refuses it

A token that is revoked in Keystone may be taken here for CACHE_S longer, whatever the clock is set to meanwhile. When
Keystone can't be reached, what is kept is used up to that time, and everything else is answered with 503, never with
401: clients would throw away good tokens. It is then asked once in DOWN_S, not by each request after a time-out of its
own.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import re
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog

from cove.api.auth import IdentityUnavailable, Unauthorized
from cove.config import Settings
from cove.errors import CoveError
from cove.identity import times
from cove.network.context import RequestContext

log = structlog.get_logger(__name__)

CACHE_S = 30.0
REFUSED_CACHE_S = 2.0
"""How long a token is remembered that Keystone does not know: a client in a loop must not become a loop on Keystone."""
CACHED_MAX = 8192
"""Answers of each kind: forged tokens can't drive out good ones."""
ASKING_MAX = 32
WAITING_MAX = 512
"""Tokens asked about, or waiting to be; for more the answer is 503."""
TIMEOUT_S = 5.0
DOWN_S = 1.0
ANSWER_BYTES_MAX = 1 << 20
RENEW_BEFORE_S = 60.0
_TOKEN = re.compile(r"[!-~]{1,8192}\Z")


class KeystoneAuthenticator:
    """The users of a Keystone. `close` it at the end. Raises CoveError for settings that can't be."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = checked_url(settings.identity)
        self._settings = settings
        self._now = now
        self._monotonic = monotonic
        self._password = read_secret(settings.identity_password_file)
        self._http = httpx.AsyncClient(
            verify=_tls(settings.identity_ca_file),
            transport=transport,
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=ASKING_MAX),
            trust_env=False,
        )
        self._kept: OrderedDict[str, tuple[float, float, RequestContext]] = OrderedDict()
        """Hash of the token → until when it is kept (monotonic), until when it is valid, and whose it is."""
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._down_until = float("-inf")
        self._asking: dict[str, asyncio.Task[RequestContext | None]] = {}
        self._room = asyncio.Semaphore(ASKING_MAX)
        self._own_token = ""
        self._own_until = 0.0
        self._renewing = asyncio.Lock()

    async def close(self) -> None:
        """End the connections."""
        for task in list(self._asking.values()):
            task.cancel()
        await self._http.aclose()

    async def authenticate(self, token: str) -> RequestContext:
        """See Authenticator."""
        if not _TOKEN.match(token):
            raise Unauthorized("the token is not valid")
        key = hashlib.sha256(token.encode()).hexdigest()
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._monotonic():
            self._kept.move_to_end(key)
            context = kept[2] if kept[1] > self._now() else None
        elif self._refused.get(key, float("-inf")) > self._monotonic():
            context = None
        else:
            context = await self._ask_once(key, token)
        if context is None:
            raise Unauthorized("the token is not valid")
        return context

    async def _ask_once(self, key: str, token: str) -> RequestContext | None:
        task = self._asking.get(key)
        if task is None:
            if self._down_until > self._monotonic():
                raise IdentityUnavailable(self._sentence)
            if len(self._asking) >= WAITING_MAX:
                raise self._unavailable(f"{WAITING_MAX} tokens are asked about already")
            task = self._asking[key] = asyncio.create_task(self._ask(key, token), name="keystone_validate")
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, key: str, token: str) -> RequestContext | None:
        async with self._room:
            if self._down_until > self._monotonic():  # found out while this one waited
                raise IdentityUnavailable(self._sentence)
            asked_at = self._monotonic()
            body = await self._validate(token)
        self._kept.pop(key, None)
        if body is not None:
            try:
                context, expires_at = context_of(body)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise self._unavailable(f"its answer is not one of Identity v3 ({type(error).__name__})") from None
            if expires_at > self._now():
                _keep(self._kept, key, (asked_at + CACHE_S, expires_at, context))
                return context
        _keep(self._refused, key, asked_at + REFUSED_CACHE_S)
        return None

    async def _validate(self, token: str) -> Any:
        """The body of Keystone's answer, None for a token that it does not know."""
        for _attempt in range(2):
            own = await self._own()
            response = await self._request(
                "GET", "/auth/tokens?nocatalog", headers={"X-Auth-Token": own, "X-Subject-Token": token}
            )
            if response.status_code == 200:
                return self._json(response)
            if response.status_code == 404:
                return None
            if response.status_code != 401:
                raise self._unavailable(
                    f"it answers {response.status_code} to the validation of a token: has the user "
                    f"{self._settings.identity_user!r} the role service on {self._settings.identity_project!r}?"
                )
            if self._own_token == own:  # ours was revoked, or Keystone has lost it
                self._own_until = 0.0
        raise self._unavailable("it refuses the token that it gave us")

    async def _own(self) -> str:
        """A valid token of our own user."""
        async with self._renewing:
            if self._own_until <= self._now():
                await self._log_in()
            return self._own_token

    async def _log_in(self) -> None:
        settings = self._settings
        user = {
            "name": settings.identity_user,
            "domain": {"name": settings.identity_user_domain},
            "password": self._password,
        }
        project = {"name": settings.identity_project, "domain": {"name": settings.identity_project_domain}}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": project},
        }
        response = await self._request("POST", "/auth/tokens?nocatalog", json={"auth": auth})
        if response.status_code != 201:
            raise self._unavailable(
                f"it refuses the login of user {settings.identity_user!r} on {settings.identity_project!r} "
                f"({response.status_code}): see identity_user and {settings.identity_password_file}"
            )
        try:
            expires_at = times.parsed(self._json(response)["token"]["expires_at"])
            token = response.headers["x-subject-token"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._unavailable(f"its answer to a login is not one of Identity v3 ({error!r})") from None
        self._own_token, self._own_until = token, expires_at - RENEW_BEFORE_S

    async def _request(self, method: str, path: str, **arguments: Any) -> _Answer:
        try:
            async with (
                asyncio.timeout(2 * TIMEOUT_S),
                self._http.stream(method, f"{self._url}{path}", **arguments) as response,
            ):
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise self._unavailable(f"it answers more than {ANSWER_BYTES_MAX} bytes")
        except (httpx.HTTPError, TimeoutError) as error:
            self._down_until = self._monotonic() + DOWN_S
            raise self._unavailable(str(error) or type(error).__name__) from None
        return _Answer(response.status_code, response.headers, bytes(body))

    def _json(self, response: _Answer) -> Any:
        try:
            return json.loads(response.body)
        except (ValueError, RecursionError):
            raise self._unavailable("its answer is not JSON") from None

    def _unavailable(self, why: str) -> IdentityUnavailable:
        log.warning("keystone.unavailable", url=self._url, why=why)
        return IdentityUnavailable(self._sentence)

    @property
    def _sentence(self) -> str:
        return f"tokens can't be checked now: Keystone at {self._url} is not available"


@dataclass(frozen=True, slots=True)
class _Answer:
    """A whole answer of Keystone, of bounded size."""

    status_code: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)


V = TypeVar("V")


def _keep(kept: OrderedDict[str, V], key: str, value: V) -> None:
    """Remember it as the newest; the oldest makes room."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > CACHED_MAX:
        kept.popitem(last=False)


def context_of(body: Mapping[str, Any]) -> tuple[RequestContext, float]:
    """What the answer to GET /auth/tokens says, and until when. Raises KeyError, TypeError, ValueError."""
    token = body["token"]
    project = token.get("project") or {}
    context = RequestContext(
        project_id=project.get("id", ""),
        is_admin=False,
        request_id="",
        user_id=token["user"]["id"],
        roles=frozenset(role["name"] for role in token.get("roles", ())),
        domain_id=(token.get("domain") or {}).get("id", ""),
        system_scope="all" if (token.get("system") or {}).get("all") else "",
        project_name=project.get("name", ""),
        user_name=token["user"].get("name", ""),
    )
    texts = (context.project_id, context.user_id, context.domain_id, context.project_name, context.user_name)
    if not all(isinstance(text, str) for text in (*texts, *context.roles)) or not context.user_id:
        raise TypeError("ids, names and roles are texts")
    return context, times.parsed(token["expires_at"])


def checked_url(url: str) -> str:
    """The setting `identity` as the address of Identity v3, without a slash at the end. Raises CoveError."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise CoveError(f"identity {url!r}: give the URL of a Keystone, such as https://keystone.example:5000/v3")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise CoveError(
            f"identity {url!r}: tokens and a password would cross the network for all to read; use https://"
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/v3') else path + '/v3'}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_secret(path: Path) -> str:
    """The first line of a file that is its owner's alone. Raises CoveError."""
    try:
        mode = path.stat().st_mode
        secret = path.read_text().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not text"
        raise CoveError(f"identity_password_file {path}: {why}") from None
    if mode & 0o077:
        raise CoveError(f"identity_password_file {path}: others may read it; chmod 600 {path}")
    if not secret:
        raise CoveError(f"identity_password_file {path} is empty: write the password of identity_user into it")
    return secret


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise CoveError(f"identity_ca_file {ca_file}: {error}") from None
