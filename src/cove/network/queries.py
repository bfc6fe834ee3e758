"""Reading resources: single objects, and lists with filters, sorting and paging.

Pure functions of a connection; used on reader threads for GET requests and inside write transactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cove.network import errors
from cove.network.attributes import AttributeTable
from cove.network.context import RequestContext
from cove.network.models import ip_allocations, network_dhcp_agent_bindings, networks, ports, subnets
from cove.network.resources import NETWORK, PORT, SUBNET
from cove.network.rows import Row, network_dict, port_dict, subnet_dict

_p = sa.bindparam
_network = sa.select(networks).where(networks.c.id == _p("id"))
_subnet = sa.select(subnets).where(subnets.c.id == _p("id"))
_port = sa.select(ports).where(ports.c.id == _p("id"))
_network_subnets = (
    sa.select(subnets).where(subnets.c.network_id == _p("id")).order_by(subnets.c.created_ns, subnets.c.id)
)
_port_allocations = (
    sa.select(ip_allocations.c.subnet_id, ip_allocations.c.ip_address)
    .where(ip_allocations.c.port_id == _p("id"))
    .order_by(ip_allocations.c.position)
)
_hosted = (
    sa.select(network_dhcp_agent_bindings.c.agent_id)
    .where(network_dhcp_agent_bindings.c.network_id == _p("id"))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list request asks for. `sorts`: (attribute, ascending); `marker`: id of the last object seen."""

    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    sorts: Sequence[tuple[str, bool]] = ()
    limit: int | None = None
    marker: str | None = None
    page_reverse: bool = False


# --- rows ------------------------------------------------------------------------------------------------------------


def network_row(connection: sa.Connection, context: RequestContext, network_id: str) -> Row:
    """The row of a network that the caller may see. Raises NetworkNotFound."""
    row = connection.execute(_network, {"id": network_id}).mappings().first()
    if row is None or not (
        context.is_admin or row["project_id"] == context.project_id or row["shared"] or row["router_external"]
    ):
        raise errors.NetworkNotFound(network_id=network_id)
    return row


def subnet_rows(connection: sa.Connection, network_id: str) -> list[Row]:
    """The rows of a network's subnets, oldest first."""
    return list(connection.execute(_network_subnets, {"id": network_id}).mappings())


def subnet_row(connection: sa.Connection, context: RequestContext, subnet_id: str) -> Row:
    """The row of a subnet that the caller may see. Raises SubnetNotFound."""
    row = connection.execute(_subnet, {"id": subnet_id}).mappings().first()
    if row is None:
        raise errors.SubnetNotFound(subnet_id=subnet_id)
    if not context.is_admin and row["project_id"] != context.project_id:
        network = connection.execute(_network, {"id": row["network_id"]}).mappings().one()
        if not network["shared"]:
            raise errors.SubnetNotFound(subnet_id=subnet_id)
    return row


def port_row(connection: sa.Connection, context: RequestContext, port_id: str) -> Row:
    """The row of a port that the caller may see. Raises PortNotFound."""
    row = connection.execute(_port, {"id": port_id}).mappings().first()
    if row is None or not (context.is_admin or row["project_id"] == context.project_id):
        raise errors.PortNotFound(port_id=port_id)
    return row


def port_fixed_ips(connection: sa.Connection, port_id: str) -> list[dict[str, str]]:
    """The addresses of a port, in their order."""
    rows = connection.execute(_port_allocations, {"id": port_id})
    return [{"subnet_id": subnet_id, "ip_address": ip_address} for subnet_id, ip_address in rows]


# --- objects ---------------------------------------------------------------------------------------------------------


def get_network(connection: sa.Connection, context: RequestContext, network_id: str) -> dict[str, Any]:
    """A network as the API shows it. Raises NetworkNotFound."""
    row = network_row(connection, context, network_id)
    return full_network(connection, row, [subnet["id"] for subnet in subnet_rows(connection, network_id)])


def full_network(connection: sa.Connection, row: Row, subnet_ids: Sequence[str]) -> dict[str, Any]:
    """A network as the API shows it, from its row."""
    hosted = connection.execute(_hosted, {"id": row["id"]}).first() is not None
    return network_dict(row, subnet_ids, hosted=hosted)


def get_subnet(connection: sa.Connection, context: RequestContext, subnet_id: str) -> dict[str, Any]:
    """A subnet as the API shows it. Raises SubnetNotFound."""
    return subnet_dict(subnet_row(connection, context, subnet_id))


def get_port(connection: sa.Connection, context: RequestContext, port_id: str, dns_domain: str) -> dict[str, Any]:
    """A port as the API shows it. Raises PortNotFound."""
    row = port_row(connection, context, port_id)
    return port_dict(row, port_fixed_ips(connection, port_id), dns_domain)


# --- lists -----------------------------------------------------------------------------------------------------------


def list_networks(connection: sa.Connection, context: RequestContext, query: ListQuery) -> list[dict[str, Any]]:
    """The networks that match and that the caller may see."""
    scope = None
    if not context.is_admin:
        scope = sa.or_(
            networks.c.project_id == context.project_id,
            networks.c.shared == sa.true(),
            networks.c.router_external == sa.true(),
        )
    statement = _select(connection, NETWORK, networks, query, scope)
    rows = list(connection.execute(statement).mappings())
    ids = statement.with_only_columns(networks.c.id)
    by_network: dict[str, list[str]] = {}
    for network_id, subnet_id in connection.execute(
        sa.select(subnets.c.network_id, subnets.c.id)
        .where(subnets.c.network_id.in_(ids))
        .order_by(subnets.c.created_ns, subnets.c.id)
    ):
        by_network.setdefault(network_id, []).append(subnet_id)
    bindings = network_dhcp_agent_bindings.c
    hosted = set(connection.execute(sa.select(bindings.network_id).where(bindings.network_id.in_(ids))).scalars())
    return [network_dict(row, by_network.get(row["id"], ()), hosted=row["id"] in hosted) for row in rows]


def list_subnets(connection: sa.Connection, context: RequestContext, query: ListQuery) -> list[dict[str, Any]]:
    """The subnets that match and that the caller may see."""
    scope = None
    if not context.is_admin:
        shared = sa.select(networks.c.id).where(networks.c.shared == sa.true())
        scope = sa.or_(subnets.c.project_id == context.project_id, subnets.c.network_id.in_(shared))
    statement = _select(connection, SUBNET, subnets, query, scope)
    return [subnet_dict(row) for row in connection.execute(statement).mappings()]


def list_ports(
    connection: sa.Connection, context: RequestContext, query: ListQuery, dns_domain: str
) -> list[dict[str, Any]]:
    """The ports that match and that the caller may see."""
    scope = None if context.is_admin else ports.c.project_id == context.project_id
    statement = _select(connection, PORT, ports, query, scope)
    rows = list(connection.execute(statement).mappings())
    by_port: dict[str, list[dict[str, str]]] = {}
    if rows:
        allocations = ip_allocations.c
        for port_id, subnet_id, ip_address in connection.execute(
            sa.select(allocations.port_id, allocations.subnet_id, allocations.ip_address)
            .where(allocations.port_id.in_(statement.with_only_columns(ports.c.id)))
            .order_by(allocations.position)
        ):
            by_port.setdefault(port_id, []).append({"subnet_id": subnet_id, "ip_address": ip_address})
    return [port_dict(row, by_port.get(row["id"], []), dns_domain) for row in rows]


def _select(
    connection: sa.Connection,
    attributes: AttributeTable,
    table: sa.Table,
    query: ListQuery,
    scope: sa.ColumnElement[bool] | None,
) -> sa.Select[Any]:
    statement = sa.select(table)
    if scope is not None:
        statement = statement.where(scope)
    for name, values in query.filters.items():
        if name == "fixed_ips":
            statement = statement.where(_with_fixed_ips(table, values))
            continue
        column = table.c.get(attributes.by_name[name].column_name)
        # An attribute without a column is always "none": nothing but null could match, and a filter is never null.
        statement = statement.where(sa.false() if column is None else column.in_(list(values)))
    keys = [(table.c[attributes.by_name[name].column_name], ascending) for name, ascending in query.sorts]
    if not any(column.name == "id" for column, _ in keys):
        keys.append((table.c.id, True))
    if query.page_reverse:
        keys = [(column, not ascending) for column, ascending in keys]
    if query.marker is not None:
        row = connection.execute(sa.select(*(column for column, _ in keys)).where(table.c.id == query.marker)).first()
        if row is None:
            raise errors.HTTPBadRequest(f"marker {query.marker!r} is not the id of a {attributes.resource}")
        statement = statement.where(_after([(c, asc, v) for (c, asc), v in zip(keys, row, strict=True)]))
    statement = statement.order_by(*(column.asc() if ascending else column.desc() for column, ascending in keys))
    return statement if query.limit is None else statement.limit(query.limit)


def _after(keys: Sequence[tuple[sa.Column[Any], bool, Any]]) -> sa.ColumnElement[bool]:
    """Rows after the marker in the order of the keys: (a > x) or (a = x and b > y) or ..."""
    alternatives = []
    for index, (column, ascending, value) in enumerate(keys):
        equal = [c.is_not_distinct_from(v) for c, _, v in keys[:index]]
        alternatives.append(sa.and_(*equal, column > value if ascending else column < value))
    return sa.or_(*alternatives)


def _with_fixed_ips(table: sa.Table, values: Sequence[tuple[str, str]]) -> sa.ColumnElement[bool]:
    """Ports with an address that matches one value of every kind given (Networking v2.0: filter fixed_ips)."""
    conditions = []
    for key in {key for key, _ in values}:
        wanted = [value for k, value in values if k == key]
        column = ip_allocations.c.subnet_id if key == "subnet_id" else ip_allocations.c.ip_address
        match = (
            sa.or_(*(column.contains(value, autoescape=True) for value in wanted))
            if key == "ip_address_substr"
            else column.in_(wanted)
        )
        conditions.append(sa.exists().where(ip_allocations.c.port_id == table.c.id, match))
    return sa.and_(*conditions)
