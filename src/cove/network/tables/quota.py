"""The body of a quota request: a limit for each resource that is counted."""

from __future__ import annotations

from cove.network import validators as v

LIMIT_MAX = (1 << 31) - 1
LIMIT = v.integer(-1, LIMIT_MAX)
"""How many; -1 is no limit."""

MODIFIERS = ("force", "check_limit")
"""What may stand beside the limits of a PUT: `force` sets one that is below what is used already; `check_limit` asks
for the check against that, which is made anyway.
"""
PROJECT_LENGTH_MAX = 255
PROJECT = v.text(PROJECT_LENGTH_MAX, length_min=1)
"""The project in the path; whether there is one of that id is the identity service's to know."""
