"""Plays a scenario against a peer, and removes what it created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .calls import ADMIN, Call, Scenario, fill
from .normal import Normaliser
from .peers import Answer, Peer

CLEAN_UP_ROUNDS = 4


def play(peer: Peer, scenario: Scenario) -> list[dict[str, Any]]:
    """What is recorded of each call's answer. A call whose references were never saved is recorded as skipped."""
    saved: dict[str, Any] = dict(peer.projects)
    normaliser = Normaliser({id: f"{{{name}}}" for name, id in peer.projects.items()})
    created: list[str] = []
    results: list[dict[str, Any]] = []
    try:
        for call in scenario.calls:
            results.append(_call(peer, call, saved, normaliser, created))
    finally:
        clean_up(peer, created)
    return results


def _call(peer: Peer, call: Call, saved: dict[str, Any], normaliser: Normaliser, created: list[str]) -> dict[str, Any]:
    try:
        path, body, headers = fill(call.path, saved), fill(call.body, saved), fill(dict(call.headers), saved)
    except (KeyError, IndexError, TypeError):
        return {"skipped": "what it refers to is not there"}
    normaliser.said(body)
    normaliser.said(path.replace("?", "&").replace("=", "&").split("&"))
    answer = peer.ask(call.who, call.method, path, body, headers)
    objects = _objects(answer)
    if call.method == "POST" and answer.status == 201:
        created += [f"{path.split('?')[0]}/{item['id']}" for item in objects if "id" in item]
    for name, item in zip(call.save, objects, strict=False):
        saved[name] = item
        if "id" in item:
            normaliser.name(item["id"], name)
    return normaliser.answer(answer, ordered="sort_key" in path)


def _objects(answer: Answer) -> list[Mapping[str, Any]]:
    """The object or the objects that an answer shows."""
    if answer.status >= 300 or not isinstance(answer.body, Mapping):
        return []
    for value in answer.body.values():
        if isinstance(value, Mapping):
            return [value]
        if isinstance(value, list):
            return [item for item in value if isinstance(item, Mapping)]
    return []


def clean_up(peer: Peer, created: list[str]) -> None:
    """Remove these, the last first, and again while something held on to something else."""
    left = list(reversed(created))
    for _ in range(CLEAN_UP_ROUNDS):
        left = [path for path in left if peer.ask(ADMIN, "DELETE", path, None, {}).status == 409]
        if not left:
            return
    raise AssertionError(f"can't be removed: {left}")
