from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

import cove.db.upgrade
from cove.db import metadata
from cove.db.migrations import HEAD_REVISION
from cove.db.upgrade import current_revision, to_head

pytest.register_assert_rewrite("tests.unit.db.migration_cases")
from tests.unit.db.migration_cases import *  # noqa: E402, F403

SCRIPTS = Path(cove.db.upgrade.__file__).parent / "migrations"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cove.sqlite"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_the_constant_is_alembics_head() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [HEAD_REVISION]


def _shape(path: Path) -> dict[str, Any]:
    """What SQLite itself says of each table and index."""
    connection = sqlite3.connect(path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    shape: dict[str, Any] = {}
    for name in names:
        if name in ("alembic_version", "sqlite_sequence"):
            continue
        sql = connection.execute("SELECT sql FROM sqlite_master WHERE name=?", (name,)).fetchone()[0].upper()
        shape[name] = {
            "columns": connection.execute(f"PRAGMA table_info({name})").fetchall(),
            "foreign keys": sorted(row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({name})")),
            "indexes": sorted(
                (row[2], row[3], tuple(connection.execute(f"PRAGMA index_info({row[1]})").fetchall()))
                for row in connection.execute(f"PRAGMA index_list({name})")
            ),
            "rowid": "WITHOUT ROWID" not in sql,
            "autoincrement": "AUTOINCREMENT" in sql,
        }
    connection.close()
    return shape


def test_what_sqlite_says_of_it_is_as_declared(path: Path, tmp_path: Path) -> None:
    to_head(path)
    declared = tmp_path / "declared.sqlite"
    engine = sa.create_engine(f"sqlite:///{declared}")
    metadata.create_all(engine)
    engine.dispose()
    assert _shape(path) == _shape(declared)


def test_a_second_run_changes_nothing(path: Path) -> None:
    to_head(path)
    assert current_revision(path) == HEAD_REVISION
    before = path.read_bytes()
    to_head(path)
    assert path.read_bytes() == before


def test_several_at_once_on_a_new_file(path: Path) -> None:
    threads = [threading.Thread(target=to_head, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert current_revision(path) == HEAD_REVISION


def test_rows_that_refer_to_nothing_stop_it(path: Path) -> None:
    to_head(path)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO ip_allocations VALUES ('n', '10.0.0.1', 'no subnet', 'no port', 0)")
    connection.commit()
    connection.close()
    with pytest.raises(cove.errors.CoveError, match="refer to nothing"):
        cove.db.upgrade.move_file(path, "0001")
    assert current_revision(path) == HEAD_REVISION


def test_a_current_file_does_not_import_alembic(path: Path) -> None:
    to_head(path)
    code = (
        "import sys; from pathlib import Path; from cove.db.upgrade import to_head; "
        f"to_head(Path({str(path)!r})); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
