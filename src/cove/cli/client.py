"""The command line's HTTP client: finds the running `cove up` by its run directory, and speaks JSON to it.

Every command goes through the running server, which alone owns the database and the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from ..errors import CoveError

if TYPE_CHECKING:  # both take longer to import than most commands take to run, and not every command needs them
    import httpx

    from ..config import Settings

REQUEST_TIMEOUT_S = 60.0
STREAM_SILENCE_S = 30.0
"""A stream says something every few seconds, so that one that is dead is told from one that is quiet."""


def load_settings() -> Settings:
    """The settings of this machine. Raises pydantic's ValidationError."""
    from ..config import Settings

    return Settings()


class NotRunning(CoveError):
    """No `cove up` answers."""


class ApiError(CoveError):
    """The server refused a request: its own words, and the HTTP status."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def error_of(response: httpx.Response) -> ApiError:
    """The error in a response, whichever of the APIs' forms it has (Networking's, Compute's, Identity's, Cove's)."""
    try:
        body = response.json()
    except ValueError:
        return ApiError(response.status_code, "HTTP", response.text[:500] or response.reason_phrase)
    if isinstance(body, dict) and len(body) == 1:
        ((kind, inner),) = body.items()
        if isinstance(inner, dict):
            return ApiError(response.status_code, str(inner.get("type", kind)), str(inner.get("message", inner)))
        return ApiError(response.status_code, kind, str(inner))
    return ApiError(response.status_code, "HTTP", str(body))


def segment(name: str) -> str:
    """A name as one segment of a URL's path, whatever is in it. Raises CoveError for what can't be one."""
    if name in ("", ".", ".."):
        raise CoveError(f"{name!r} is no name")
    return quote(name, safe="")


class Client:
    """A session with the running server. Use as a context manager."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """Connect to the server of these settings' run directory. Raises NotRunning."""
        import httpx

        settings = settings or load_settings()

        try:
            endpoint = json.loads((settings.run_dir / "endpoint.json").read_text())
            token = settings.token_file.read_text().strip()
        except FileNotFoundError:
            raise NotRunning("Cove is not running here: start it with `cove up`") from None
        except PermissionError as error:
            raise NotRunning(f"{error.filename} is not readable: run this as the user of `cove up` (root)") from None
        headers = {"X-Auth-Token": token}
        return cls(
            httpx.Client(base_url=endpoint["api_url"], headers=headers, timeout=REQUEST_TIMEOUT_S, trust_env=False)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """One request; the decoded JSON of the answer (None if it has no body). Raises ApiError, NotRunning."""
        with self._transport_errors():
            response = self.http.request(method, path, **kwargs)
        if response.is_error:
            raise error_of(response)
        return response.json() if response.content else None

    @contextmanager
    def _transport_errors(self) -> Iterator[None]:
        """httpx' errors in our words."""
        import httpx

        try:
            yield
        except httpx.ConnectError:
            raise NotRunning(f"nothing answers at {self.http.base_url}: start Cove with `cove up`") from None
        except httpx.TimeoutException:
            raise CoveError(f"no answer from {self.http.base_url} in time: see its log, or `cove status`") from None
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise CoveError(f"the server at {self.http.base_url} ended while it was asked ({why})") from None

    def get(self, path: str, **params: Any) -> Any:
        """GET; parameters that are None are left out."""
        return self.request("GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(self, path: str, body: Any) -> Any:
        """POST a JSON body."""
        return self.request("POST", path, json=body)

    def put(self, path: str) -> Any:
        """PUT, without a body."""
        return self.request("PUT", path)

    def delete(self, path: str) -> None:
        """DELETE."""
        self.request("DELETE", path)

    @contextmanager
    def stream(self, path: str, body: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """POST a JSON body and read the answer as one JSON object a line, for as long as it lasts."""
        import httpx

        timeout = httpx.Timeout(REQUEST_TIMEOUT_S, read=STREAM_SILENCE_S)
        with self._transport_errors(), self.http.stream("POST", path, json=body, timeout=timeout) as response:
            if response.is_error:
                response.read()
                raise error_of(response)
            yield (json.loads(line) for line in response.iter_lines() if line)

    def find(self, collection: str, name_or_id: str, *, path: str | None = None) -> dict[str, Any]:
        """The one object of a Networking collection ("networks") with that id or name. Raises CoveError."""
        singular = collection.removesuffix("s")
        base = path or f"/v2.0/{collection}"
        for attribute in ("id", "name"):
            found = self.get(base, **{attribute: name_or_id})[collection]
            if len(found) == 1:
                return dict(found[0])
            if len(found) > 1:
                raise CoveError(f"{len(found)} {collection} are named {name_or_id!r}: give the id instead")
        raise CoveError(f"no {singular} {name_or_id!r}: `cove {singular} list` shows what there is")
