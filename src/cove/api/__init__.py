"""HTTP: the application, the token check, the forms of errors, and routes generated from the attribute tables."""

from __future__ import annotations

from cove.api.app import create_app

__all__ = ["create_app"]
