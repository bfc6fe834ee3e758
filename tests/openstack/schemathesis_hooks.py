"""Hooks for schemathesis: what it makes up gets ids of things that are there, so that it reaches more than "not found".

Run in the environment of the peers, without Cove. COVE_IDS has, as JSON, the ids by collection and by attribute.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import schemathesis

IDS: dict[str, list[str]] = json.loads(os.environ.get("COVE_IDS", "{}"))
_random = random.Random(1)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Three of four requests are about something real; a DELETE is, where there is enough of it."""
    if _random.random() < 0.25:
        return
    collection = case.operation.path.split("/")[2]
    for name in case.path_parameters or ():
        known = IDS.get(collection if name == "id" else name, [])
        if case.operation.method.lower() == "delete" and "tags" not in case.operation.path:
            known = known[1:]  # the first stays
        if known:
            case.path_parameters[name] = _random.choice(known)
    if isinstance(case.body, dict):
        case.body = _with_ids(case.body)


def _with_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _random.choice(IDS[name]) if name in IDS and isinstance(inner, str) else _with_ids(inner)
        for name, inner in value.items()
    }
