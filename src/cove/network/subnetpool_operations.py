"""What can be done with a subnet pool beside create, update and delete: PUT /v2.0/subnetpools/{id}/<operation>.

add_prefixes, remove_prefixes    {"prefixes": [...]} → {"prefixes": all of them}     (subnetpool-prefix-ops)
onboard_network_subnets          {"network_id": ...} → [{"id", "cidr"}, ...]         (subnet_onboard)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from cove.network import addresses, errors, networks, prefixes, subnetpools
from cove.network.ipam import network_of
from cove.network.models import subnets
from cove.network.rows import Row
from cove.network.transaction import Transaction
from cove.network.validators import listed, parse_network, uuid_text

_p = sa.bindparam
_take_in = (
    sa.update(subnets)
    .where(subnets.c.network_id == _p("of_network"), subnets.c.ip_version == _p("version"))
    .values(subnetpool_id=_p("pool"), revision_number=subnets.c.revision_number + 1, updated_at=_p("at"))
)


def add_prefixes(tx: Transaction, row: Row, body: Any) -> dict[str, list[str]]:
    """More prefixes. Raises HTTPBadRequest, and what updating the pool raises."""
    added = _prefixes_of(body)
    return {"prefixes": subnetpools.update(tx, row, {"prefixes": [*row["prefixes"], *added]})["prefixes"]}


def remove_prefixes(tx: Transaction, row: Row, body: Any) -> dict[str, list[str]]:
    """Fewer prefixes; what is not in the pool does not matter.

    None may be left of them. Raises HTTPBadRequest, IllegalSubnetPoolPrefixUpdate (a subnet is in what would go).
    """
    version = row["ip_version"]
    given = [network for network in map(network_of, _prefixes_of(body)) if network.version == version]
    removed, before = prefixes.ranges_of(given), prefixes.ranges_of(map(network_of, row["prefixes"]))
    left = prefixes.difference(before, removed)
    if left == before:
        return {"prefixes": list(row["prefixes"])}
    if prefixes.overlap(subnetpools.taken(tx, row["id"]), removed):
        raise errors.IllegalSubnetPoolPrefixUpdate(msg="there are subnets in the prefixes to be removed")
    after = dict(row) | {"prefixes": [str(network) for network in prefixes.cidrs(left, version)]}
    return {"prefixes": subnetpools.write(tx, row, after)["prefixes"]}


def onboard_network_subnets(tx: Transaction, row: Row, body: Any) -> list[dict[str, str]]:
    """A network's subnets of the pool's IP version belong to the pool from now on; its prefixes grow by theirs.

    Raises InvalidInput, NetworkNotFound, NotAuthorized (another project's network), IllegalSubnetPoolUpdate, and what
    updating the pool raises.
    """
    network_id = body.get("network_id") if isinstance(body, dict) else None
    if not isinstance(network_id, str):
        raise errors.InvalidInput(reason=f"network_id: {network_id!r} is not the id of a network")
    try:
        network_row = networks.row_for_use(tx, uuid_text(network_id))
    except ValueError:
        raise errors.NetworkNotFound(network_id=network_id) from None
    if not tx.context.is_admin and network_row["project_id"] != tx.context.project_id:
        raise errors.NotAuthorized(action=f"taking in the subnets of network {network_id} of another project")
    found = [each for each in addresses.subnets_of(tx, network_row["id"]) if each["ip_version"] == row["ip_version"]]
    if not found:
        return []
    if prefixes.overlap(subnetpools.taken(tx, row["id"]), prefixes.ranges_of(network_of(s["cidr"]) for s in found)):
        raise errors.IllegalSubnetPoolUpdate(reason="subnets of the pool have some of these addresses already")
    subnetpools.update(tx, row, {"prefixes": [*row["prefixes"], *(each["cidr"] for each in found)]})
    values = {"of_network": network_row["id"], "version": row["ip_version"], "pool": row["id"], "at": tx.now_text}
    tx.connection.execute(_take_in, values)
    networks.touch(tx, network_row["id"])
    return [{"id": each["id"], "cidr": each["cidr"]} for each in found]


OPERATIONS: Mapping[str, Callable[[Transaction, Row, Any], Any]] = {
    "add_prefixes": add_prefixes,
    "remove_prefixes": remove_prefixes,
    "onboard_network_subnets": onboard_network_subnets,
}
"""Name in the path → (transaction, the pool's row, the request's body) → the answer."""


def _prefixes_of(body: Any) -> list[str]:
    given = body.get("prefixes") if isinstance(body, dict) else None
    try:
        if not given:
            raise ValueError("it needs a list of prefixes that is not empty")
        return [str(parse_network(prefix)) for prefix in listed(given)]
    except ValueError as error:
        raise errors.HTTPBadRequest(f"invalid input for prefixes: {error}") from None
