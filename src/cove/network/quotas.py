"""Quotas: how many of each resource a project may have, and has.

What a project has is counted in quota_usages, in the transaction that makes or removes things: functions say
`tx.count(...)`, and `settle` applies it all before the commit. The row of (project, resource) is locked from then on,
so that the count is exact however many processes write. Limits are those of the settings, or the project's own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cove.db import locks
from cove.network import errors
from cove.network.models import quota_limits, quota_usages
from cove.network.tables.quota import LIMIT, MODIFIERS
from cove.network.transaction import Reading, Transaction
from cove.network.validators_base import NotConvertible

UNLIMITED = -1

_p = sa.bindparam
_l, _u = quota_limits.c, quota_usages.c
_LIMITS_OF = sa.select(_l.resource, _l.limit).where(_l.project_id == _p("project"))
_USAGES_OF = sa.select(_u.resource, _u.used).where(_u.project_id == _p("project"))
_ALL_LIMITS = sa.select(_l.project_id, _l.resource, _l.limit).order_by(_l.project_id)
_RESET = sa.delete(quota_limits).where(_l.project_id == _p("project"))

_EXEMPT = "quotas.exempt"


# --- counting --------------------------------------------------------------------------------------------------------


def count_exempt(tx: Transaction, resource: str, project_id: str, change: int) -> None:
    """As `tx.count`, for what the service makes by itself: it counts, but no limit stands against it."""
    exempt = tx.memory.setdefault(_EXEMPT, {})
    key = (project_id, resource)
    exempt[key] = exempt.get(key, 0) + change


def lock(tx: Transaction, project_ids: Iterable[str]) -> None:
    """Keep other transactions from counting for these projects until this one ends.

    At the beginning of what will count: a transaction that waits with its work done would do it twice
    (`cove.db.locks`), and rows that are locked in another order each time end in deadlocks.
    """
    for project_id in sorted(set(project_ids)):
        locks.lock(tx.connection, "quota", project_id)


def settle(tx: Transaction) -> None:
    """Apply what was counted to the usages; once, at the end of a write transaction. Raises OverQuota (409).

    One statement for a transaction that changes one number, as most do. Rows are taken in order, so that two
    transactions never wait for each other.
    """
    exempt: Mapping[tuple[str, str], int] = tx.memory.get(_EXEMPT, {})
    if not tx.counted and not exempt:
        return
    defaults = tx.config.quotas
    add = _add(tx.connection.dialect.name)
    overs = []
    changes = {key: tx.counted.get(key, 0) + exempt.get(key, 0) for key in sorted(tx.counted.keys() | exempt.keys())}
    changes = {key: change for key, change in changes.items() if change and key[1] in defaults}
    lock(tx, (project_id for project_id, _ in changes))
    for (project_id, resource), change in changes.items():
        counted = tx.counted.get((project_id, resource), 0)
        values = {"project": project_id, "of_resource": resource, "change": change}
        used, own_limit = tx.connection.execute(add, values).one()
        limit = defaults[resource] if own_limit is None else own_limit
        if counted > 0 and 0 <= limit < used:
            overs.append(f"{resource} (limit {limit}, wanted {used})")
    if overs:
        raise errors.OverQuota(overs=", ".join(overs))
    tx.counted.clear()
    tx.memory.pop(_EXEMPT, None)


@functools.cache
def _add(dialect: str) -> Any:
    """Add to a usage; returns it with the project's own limit, if there is one."""
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    project: sa.BindParameter[str] = _p("project")
    resource: sa.BindParameter[str] = _p("of_resource")
    statement = insert(quota_usages).values(project_id=project, resource=resource, used=_p("change"))
    own_limit = sa.select(_l.limit).where(_l.project_id == project, _l.resource == resource).scalar_subquery()
    return statement.on_conflict_do_update(
        index_elements=[_u.project_id, _u.resource], set_={"used": _u.used + statement.excluded.used}
    ).returning(_u.used, own_limit)


# --- limits ----------------------------------------------------------------------------------------------------------


def defaults(reading: Reading) -> dict[str, int]:
    """The limits of a project that has none of its own."""
    return dict(reading.config.quotas)


def limits(reading: Reading, project_id: str) -> dict[str, int]:
    """The limits that are in force for a project."""
    own = reading.connection.execute(_LIMITS_OF, {"project": project_id})
    return _merged(reading, ((resource, limit) for resource, limit in own))


def details(reading: Reading, project_id: str) -> dict[str, dict[str, int]]:
    """Limit and usage of each resource. Nothing is ever reserved: a request counts when it commits."""
    used = _usages(reading, project_id)
    return {
        resource: {"limit": limit, "used": used.get(resource, 0), "reserved": 0}
        for resource, limit in limits(reading, project_id).items()
    }


def all_limits(reading: Reading) -> list[dict[str, Any]]:
    """The limits of each project that has some of its own."""
    own: dict[str, list[tuple[str, int]]] = {}
    for project_id, resource, limit in reading.connection.execute(_ALL_LIMITS):
        own.setdefault(project_id, []).append((resource, limit))
    return [
        {**_merged(reading, of), "project_id": project_id, "tenant_id": project_id} for project_id, of in own.items()
    ]


def set_limits(tx: Transaction, project_id: str, wanted: Mapping[str, int], *, force: bool) -> dict[str, int]:
    """Give a project limits of its own; returns all that are in force.

    Raises HTTPBadRequest for one below what is used already, unless `force`.
    """
    if not force:
        used = _usages(tx, project_id)
        for resource, limit in wanted.items():
            if limit != UNLIMITED and limit < used.get(resource, 0):
                raise errors.HTTPBadRequest(
                    f"a limit of {limit} for {resource} is below the {used[resource]} that the project has;"
                    " set it with force, or remove some first"
                )
    rows = [{"project_id": project_id, "resource": name, "limit": limit} for name, limit in sorted(wanted.items())]
    if rows:
        tx.connection.execute(_set(tx.connection.dialect.name), rows)
    return limits(tx, project_id)


def reset(tx: Transaction, project_id: str) -> None:
    """The defaults are in force for a project again. Raises TenantQuotaNotFound."""
    if tx.connection.execute(_RESET, {"project": project_id}).rowcount < 1:
        raise errors.TenantQuotaNotFound(tenant_id=project_id)


def _merged(reading: Reading, own: Any) -> dict[str, int]:
    result = defaults(reading)
    result.update((resource, limit) for resource, limit in own if resource in result)
    return result


def _usages(reading: Reading, project_id: str) -> dict[str, int]:
    found = reading.connection.execute(_USAGES_OF, {"project": project_id})
    return {str(resource): int(used) for resource, used in found}


@functools.cache
def _set(dialect: str) -> Any:
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(quota_limits)
    return statement.on_conflict_do_update(
        index_elements=[_l.project_id, _l.resource], set_={"limit": statement.excluded.limit}
    )


# --- requests --------------------------------------------------------------------------------------------------------


def checked(body: Any, known: Sequence[str]) -> tuple[dict[str, int], bool]:
    """The limits of a PUT's body {"quota": {...}}, and whether they are forced. Raises HTTPBadRequest, InvalidInput."""
    given = body.get("quota") if isinstance(body, dict) else None
    if not isinstance(given, dict):
        raise errors.HTTPBadRequest('the request body has no object "quota"')
    wanted: dict[str, int] = {}
    for name, value in given.items():
        if name in MODIFIERS:
            continue
        if name not in known:
            raise errors.HTTPBadRequest(
                f"{name!r} is no resource that there is a quota for; there is one for {', '.join(known)}"
            )
        try:
            wanted[name] = LIMIT(value)
        except NotConvertible as error:
            raise errors.InvalidInput(reason=f"{name}: {error}") from None
        except ValueError as error:
            raise errors.HTTPBadRequest(f"invalid input for {name}: {error}") from None
    return wanted, given.get("force") is True
