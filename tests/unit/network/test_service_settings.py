"""Settings that the service refuses at its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cove.errors import CoveError
from tests.unit.network.fakes import cloud


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quotas": {"ports": 5}}, "setting quotas: ports unknown; there are .*port"),
        ({"tenant_network_type": "vlan"}, "needs the setting physical_networks"),
        ({"policy_file": Path("/nonexistent/policy.toml")}, "/nonexistent/policy.toml"),
    ],
)
async def test_settings_that_are_refused(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(CoveError, match=says):
        async with cloud(tmp_path, **settings):
            pass


async def test_a_quota_by_setting(tmp_path: Path) -> None:
    async with cloud(tmp_path, quotas={"network": 1}) as made:
        await made.network()
        with pytest.raises(CoveError, match="network"):
            await made.network()
