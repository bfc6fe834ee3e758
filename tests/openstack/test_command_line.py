"""`openstack`, every command for networks and DHCP with its options: exit code and output, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .cli import OpenStackCli
from .cloud import Cloud
from .command_topics import TOPICS
from .commands import Command, Topic
from .conformance.calls import fill


@pytest.fixture(scope="module")
def cloud_settings() -> dict[str, str]:
    return {"physical_networks": '["physnet1"]', "dns_domain": "cove.test"}


@pytest.fixture(scope="module")
def cli(engine_cloud: Cloud, peers: Path) -> Iterator[OpenStackCli]:
    with OpenStackCli(engine_cloud) as running:
        yield running


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name.replace(" ", "-"))
def test_commands(cli: OpenStackCli, engine_cloud: Cloud, topic: Topic) -> None:
    engine_cloud.clear()
    kept: dict[str, Any] = dict(engine_cloud.projects)
    kept["agent"] = cli.json("admin", "network agent list --agent-type dhcp")[0]["ID"]
    for command in topic.commands:
        run(cli, command, kept)


def run(cli: OpenStackCli, command: Command, kept: dict[str, Any]) -> None:
    words = fill(command.words, kept)
    if command.fails:
        said = cli.fails(command.user, words)
        assert command.fails in said, f"openstack {words}: {said}"
    elif command.silent:
        assert cli.run(command.user, words).strip() == "", words
    elif command.names is None and not command.some and not isinstance(shown := cli.json(command.user, words), list):
        wanted = fill(dict(command.shows), kept)
        assert {key: shown.get(key, "(absent)") for key in wanted} == wanted, f"openstack {words}"
        if command.keep:
            kept[command.keep] = shown
    else:
        found = [row[command.column] for row in cli.json(command.user, words)]
        if command.names is not None:
            assert sorted(found) == sorted(fill(list(command.names), kept)), f"openstack {words}"
        assert set(fill(list(command.some), kept)) <= set(found), f"openstack {words}"
