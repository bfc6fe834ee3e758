"""Alembic revisions of the control database's schema, run in-process by `cove.db.upgrade`."""

from __future__ import annotations

HEAD_REVISION = "0001"
"""The newest revision; equals Alembic's idea of the head (a test checks it)."""
