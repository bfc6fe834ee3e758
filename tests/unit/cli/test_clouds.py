"""`cove clouds-yaml`, and what `cove up` tells of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cove.cli.clouds import hint
from cove.cli.main import app
from cove.config import Settings
from cove.errors import CoveError
from cove.identity.clouds import render


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("state", "run"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"COVE_{name.upper()}_DIR", str(tmp_path / name))
    for user in ("admin", "demo"):
        (tmp_path / "state" / f"{user}-password").write_text(f"secret-of-{user}\n")
    made = Settings()
    (made.run_dir / "clouds.yaml").write_text(render("http://127.0.0.1:9696/v3", made.state_dir))
    return made


def test_the_command_prints_the_file(settings: Settings) -> None:
    result = CliRunner().invoke(app, ["clouds-yaml"])
    assert result.exit_code == 0
    assert result.output == (settings.run_dir / "clouds.yaml").read_text()
    assert '"secret-of-demo"' in result.output


def test_the_hint_has_a_stanza_without_passwords(settings: Settings) -> None:
    text = "\n".join(hint(settings))
    assert f"export OS_CLIENT_CONFIG_FILE={settings.run_dir}/clouds.yaml" in text
    assert '        auth_url: "http://127.0.0.1:9696/v3"' in text
    assert "password: …" in text
    assert f"{settings.state_dir}/admin-password" in text
    assert "secret-of" not in text
    assert "plain HTTP" not in text


def test_the_hint_warns_of_plain_http(settings: Settings) -> None:
    assert "plain HTTP" in hint(settings.model_copy(update={"api_host": "192.0.2.1"}))[-1]


def test_the_hint_says_less_where_the_file_is_not_to_be_read(settings: Settings) -> None:
    (settings.run_dir / "clouds.yaml").unlink()
    assert hint(settings) == []


def test_while_cove_is_down(settings: Settings) -> None:
    (settings.run_dir / "clouds.yaml").unlink()
    error = CliRunner().invoke(app, ["clouds-yaml"]).exception
    assert isinstance(error, CoveError)
    assert "start it with `cove up`" in str(error)


def test_with_a_keystone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    (settings.run_dir / "clouds.yaml").unlink()
    monkeypatch.setenv("COVE_IDENTITY", "https://keystone.example/v3")
    error = CliRunner().invoke(app, ["clouds-yaml"]).exception
    assert "https://keystone.example/v3" in str(error)
    assert "https://keystone.example/v3" in "\n".join(hint(Settings()))
