"""Alembic revisions of the control database's schema, run in-process by `cove.db.upgrade`."""

from __future__ import annotations

from pathlib import Path


def _newest() -> str:
    """The revisions are a line, and their files are named by them: 0001_first.py, 0002_….py."""
    versions = Path(__file__).parent / "versions"
    return max(path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py"))


HEAD_REVISION = _newest()
"""The newest revision; equals Alembic's idea of the head (a test checks it)."""
