"""Tokens in several `cove server` processes on one PostgreSQL database: what ends in one ends in all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .api_processes import ApiProcess
from .cloud import Cloud

SLACK_S = 1.0
"""What a busy machine may take for the requests themselves."""


@pytest.fixture
def cloud(tmp_path: Path, postgres_url: str) -> Iterator[Cloud]:
    with Cloud(tmp_path / "up", postgres_url) as made:
        yield made


def test_a_revocation_is_heard_everywhere(tmp_path: Path, cloud: Cloud, postgres_url: str) -> None:
    with (
        ApiProcess(tmp_path, postgres_url, "one") as one,
        ApiProcess(tmp_path, postgres_url, "two") as two,
        httpx.Client(trust_env=False, timeout=30) as http,
    ):

        def code(url: str, token: str) -> int:
            return http.get(f"{url}/v2.0/networks", headers={"X-Auth-Token": token}).status_code

        def ended_after_s(url: str, token: str) -> float:
            began = time.monotonic()
            while code(url, token) != 401:
                assert time.monotonic() < began + 30
            return time.monotonic() - began

        admin = {"X-Auth-Token": cloud.admin_token}
        users = http.get(f"{one.url}/v3/users?name=bob", headers=admin).json()["users"]
        changes: list[tuple[str, str, Any]] = [
            ("DELETE", "/auth/tokens", None),
            ("PATCH", f"/users/{users[0]['id']}", {"user": {"password": cloud.passwords["bob"]}}),
            ("PATCH", f"/projects/{cloud.projects['bob']}", {"project": {"enabled": False}}),
        ]
        for method, path, body in changes:
            token, bystander = cloud.token("bob"), cloud.token("alice")
            for url in (one.url, two.url, cloud.url):
                assert code(url, token) == code(url, bystander) == 200
            headers = admin | {"X-Subject-Token": token}
            assert http.request(method, f"{one.url}/v3{path}", json=body, headers=headers).is_success
            assert code(one.url, token) == 401, "at once where it was done"
            for url in (two.url, cloud.url):
                assert ended_after_s(url, token) <= 1.0 + SLACK_S
                assert code(url, bystander) == 200


def test_servers_that_start_together_make_the_users_once(tmp_path: Path, postgres_url: str) -> None:
    processes = [ApiProcess(tmp_path, postgres_url, f"server-{number}") for number in range(3)]
    for process in processes:
        process.begin()
    try:
        for process in processes:
            process.wait_until_ready()
        files = list(tmp_path.glob("server-*/state/admin-password*"))
        assert [path.name for path in files] == ["admin-password"]
        user = {"name": "admin", "domain": {"id": "default"}, "password": files[0].read_text().strip()}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
        for process in processes:
            response = httpx.post(f"{process.url}/v3/auth/tokens", json=body, trust_env=False, timeout=30)
            assert response.status_code == 201
            assert process.problems() == []
    finally:
        for process in processes:
            process.stop()
