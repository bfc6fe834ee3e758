from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cove.config import Settings
from cove.daemon.http_server import bind
from cove.daemon.places import RUN_NAMES, STATE_NAMES, holds_state, make_directories, remove_ours
from cove.errors import CoveError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_can_be_searched_whatever_the_umask(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "a" / "state", run_dir=tmp_path / "b" / "run")
    before = os.umask(0o077)
    try:
        make_directories(settings)
    finally:
        os.umask(before)
    assert {mode(path) for path in (settings.state_dir, settings.state_dir.parent, settings.run_dir)} == {0o755}


def test_directories_that_are_there_keep_their_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    make_directories(Settings(state_dir=tmp_path, run_dir=tmp_path))
    assert mode(tmp_path) == 0o1777


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CoveError, match="COVE_STATE_DIR"):
        make_directories(Settings(state_dir=tmp_path / "file" / "state", run_dir=tmp_path))


def test_only_what_is_coves_is_removed(tmp_path: Path) -> None:
    for name in ("store", "dhcp", ".guest-abc", "photos"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    for name in ("cove.sqlite", "cove.sqlite-wal", "letter.txt"):
        (tmp_path / name).touch()
    (tmp_path / "guest").symlink_to(tmp_path / "photos")
    assert holds_state(tmp_path)
    assert remove_ours(tmp_path, STATE_NAMES) == ["letter.txt", "photos"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letter.txt", "photos"]
    assert (tmp_path / "photos" / "file").exists()
    assert not holds_state(tmp_path)


def test_an_empty_directory_goes_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "token").touch()
    (run / ".token.1-2").touch()
    assert remove_ours(run, RUN_NAMES) == []
    assert not run.exists()
    assert remove_ours(run, RUN_NAMES) == []


def test_settings_make_directories_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(state_dir=Path("state"), run_dir=Path("run"))
    assert settings.state_dir == tmp_path / "state"
    assert settings.database_url == f"sqlite:///{tmp_path}/state/cove.sqlite"


@pytest.mark.parametrize(("host", "why"), [("192.0.2.1", "see api_host"), ("here", "IP address")])
def test_addresses_that_the_api_cannot_listen_on(host: str, why: str) -> None:
    with pytest.raises(CoveError, match=why):
        bind(host, 0)


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with bind("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(CoveError, match="COVE_API_PORT"):
            bind("127.0.0.1", first.getsockname()[1])


def test_two_may_clear_a_directory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    listed = os.listdir(directory)
    directory.rmdir()  # the other one was quicker, between our look and our last step
    monkeypatch.setattr(os, "listdir", lambda _path: listed)
    assert remove_ours(directory, RUN_NAMES) == []


@pytest.mark.parametrize("mode", [0o777, 0o757])
@pytest.mark.parametrize("setting", ["state_dir", "run_dir"])
def test_a_directory_that_anybody_may_write_to_keeps_no_secrets(tmp_path: Path, setting: str, mode: int) -> None:
    directories = {"state_dir": tmp_path / "state", "run_dir": tmp_path / "run"}
    directories[setting].mkdir()
    directories[setting].chmod(mode)
    with pytest.raises(CoveError, match=f"{setting}.*anybody may write"):
        make_directories(Settings(state_dir=directories["state_dir"], run_dir=directories["run_dir"]))
