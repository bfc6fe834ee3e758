"""The root of Cove's exceptions. Each package has its own tree under it."""

from __future__ import annotations


class CoveError(Exception):
    """Anything Cove reports to its user: the message says what was wrong, with which value, and what to do."""
