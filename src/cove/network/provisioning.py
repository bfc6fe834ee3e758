"""The DHCP provisioning block of ports: what keeps a port DOWN until a DHCP server would answer for it.

A port without an address in a DHCP subnet, and the network service's own ports, have no block. A change of what DHCP
serves for the port sets the block again. The agent's message names ports, not revisions: one that answers for the state
before a change may lift the block of the change a moment early.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from cove.network.models import ip_allocations, ports, subnets
from cove.network.rows import ACTIVE, DOWN, Row
from cove.network.transaction import Transaction

OWNER_PREFIX_NETWORK = "network:"


def pending_after(subnet_rows: Sequence[Row], subnet_ids: Iterable[str], device_owner: str) -> bool:
    """Whether a DHCP server has to know of a port with addresses in these subnets before it is ready."""
    if device_owner.startswith(OWNER_PREFIX_NETWORK):
        return False
    served = {subnet["id"] for subnet in subnet_rows if subnet["enable_dhcp"]}
    return any(subnet_id in served for subnet_id in subnet_ids)


def status_of(admin_state_up: bool, pending: bool) -> str:
    """The status of a port."""
    return ACTIVE if admin_state_up and not pending else DOWN


def ready(tx: Transaction, port_ids: Sequence[str]) -> list[str]:
    """Lift the DHCP block of ports; returns those that became ACTIVE by it. Unknown ports are ignored."""
    lifted = _lift(tx, ports.c.id.in_(list(port_ids)))
    return [port_id for port_id, status in lifted if status == ACTIVE]


def lift_where_unserved(tx: Transaction, network_id: str) -> None:
    """No DHCP server will ever report the ports that have no address in a DHCP subnet now: they are ready."""
    served = (
        sa.select(ip_allocations.c.port_id)
        .join(subnets, subnets.c.id == ip_allocations.c.subnet_id)
        .where(subnets.c.network_id == network_id, subnets.c.enable_dhcp == sa.true())
    )
    _lift(tx, sa.and_(ports.c.network_id == network_id, ports.c.id.not_in(served)))


def _lift(tx: Transaction, which: sa.ColumnElement[bool]) -> list[tuple[str, str]]:
    statement = (
        sa.update(ports)
        .where(which, ports.c.dhcp_pending == sa.true())
        .values(
            dhcp_pending=False,
            status=sa.case((ports.c.admin_state_up == sa.true(), ACTIVE), else_=DOWN),
            revision_number=ports.c.revision_number + 1,
            updated_at=tx.now_text,
        )
        .returning(ports.c.id, ports.c.status)
    )
    return [(port_id, status) for port_id, status in tx.connection.execute(statement)]
