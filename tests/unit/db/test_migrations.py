from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import cove.compute.models
import cove.db.upgrade
import cove.network.models
from cove.db import metadata
from cove.db.migrations import HEAD_REVISION
from cove.db.upgrade import current_revision, to_head
from cove.errors import CoveError

SCRIPTS = Path(cove.db.upgrade.__file__).parent / "migrations"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cove.sqlite"


def test_the_constant_is_alembics_head() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [HEAD_REVISION]


def test_the_revisions_give_the_declared_tables(path: Path) -> None:
    assert {cove.network.models.ports.name, cove.compute.models.servers.name} <= set(metadata.tables)
    to_head(path)
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


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


def test_every_detail_is_as_declared(path: Path, tmp_path: Path) -> None:
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


def test_an_unknown_revision_is_refused_with_the_remedy(path: Path) -> None:
    to_head(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num='9999'")
    connection.commit()
    connection.close()
    with pytest.raises(CoveError, match=r"'9999'.*start it with the Cove that wrote it"):
        to_head(path)


def test_a_failing_revision_leaves_the_file_empty(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.operations import Operations

    original = Operations.create_table
    made: list[str] = []

    def breaks_at_the_third(self: Operations, name: str, *args: Any, **kwargs: Any) -> Any:
        if len(made) == 2:
            raise RuntimeError("disk full")
        made.append(name)
        return original(self, name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Operations, "create_table", breaks_at_the_third)
        patch.setattr("alembic.op.create_table", lambda *a, **k: breaks_at_the_third(_current(), *a, **k))
        with pytest.raises(RuntimeError):
            to_head(path)
    assert len(made) == 2
    assert current_revision(path) is None
    to_head(path)
    assert current_revision(path) == HEAD_REVISION


def _current() -> Any:
    from alembic import op

    return vars(op)["_proxy"]


def test_a_current_file_does_not_import_alembic(path: Path) -> None:
    to_head(path)
    code = (
        "import sys; from pathlib import Path; from cove.db.upgrade import to_head; "
        f"to_head(Path({str(path)!r})); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
