from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from cove.config import Settings


def test_urls_follow_from_the_state_directory() -> None:
    settings = Settings(state_dir=Path("/x"))
    assert settings.database_url == "sqlite:////x/cove.sqlite"
    assert settings.storage_url == "store:///x/store"


def test_environment_beats_defaults_and_arguments_beat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVE_API_PORT", "1234")
    assert Settings().api_port == 1234
    assert Settings(api_port=1).api_port == 1


@pytest.mark.parametrize(("name", "value"), [("api_port", 70000), ("dhcp_lease_duration_s", 1), ("network_mtu", 100)])
def test_out_of_range_is_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**cast(Any, {name: value}))


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE))
    assert set(rows) == set(Settings.model_fields)
    assert all(field.description for field in Settings.model_fields.values())
