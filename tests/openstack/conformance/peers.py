"""Who answers the calls: Cove with tokens, or a real Neutron that believes its headers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from .calls import PROJECTS, ROLES

TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and decoded body; None where there is no JSON."""

    status: int
    body: Any


class Peer(Protocol):
    """A Networking API that can be asked as anybody."""

    projects: Mapping[str, str]
    """Ids of projects by name."""

    def ask(self, who: str, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
        """One request; `path` is below /v2.0."""
        ...


class HttpPeer:
    """A Networking API over HTTP, and the headers that make a request somebody's."""

    def __init__(self, url: str, credentials: Mapping[str, Mapping[str, str]], projects: Mapping[str, str]) -> None:
        self.projects = projects
        self._credentials = credentials
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/v2.0/", timeout=TIMEOUT_S, trust_env=False)

    def ask(self, who: str, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
        """One request; `path` is below /v2.0."""
        response = self._http.request(
            method, path, json=body, headers={**self._credentials[who], **headers, "Accept": "application/json"}
        )
        try:
            return Answer(response.status_code, response.json())
        except ValueError:
            return Answer(response.status_code, None)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()


def neutron(url: str) -> HttpPeer:
    """The Neutron of `neutron_server.py`: projects are what one says they are."""
    projects = {name: uuid.uuid5(uuid.NAMESPACE_DNS, name).hex for name in set(PROJECTS.values())}
    return HttpPeer(
        url,
        {
            who: {"X-User-Id": f"user-{who}", "X-Project-Id": projects[PROJECTS[who]], "X-Roles": ",".join(roles)}
            for who, roles in ROLES.items()
        },
        projects,
    )
