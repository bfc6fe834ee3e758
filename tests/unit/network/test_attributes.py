from __future__ import annotations

from typing import Any

import pytest

from cove.network import RequestContext, errors
from cove.network import validators as v
from cove.network.attributes import REQUIRED, UNSET, Attribute, AttributeTable
from cove.network.registry import RESOURCES
from cove.network.resource import Resource

ADMIN = RequestContext("p1", is_admin=True)
USER = RequestContext("p1", is_admin=False)

TABLE = AttributeTable(
    "thing",
    "things",
    (
        Attribute("id", v.uuid_text, filter=True, primary_key=True),
        Attribute("name", v.text(10), default="", post=True, put=True, filter=True),
        Attribute("kind", v.one_of(("a", "b")), default=REQUIRED, post=True, filter=True),
        Attribute("size", v.integer(0, 9), default=UNSET, post=True, put=True, filter=True, strict_filter=True),
        Attribute("list", v.items, default=[], post=True, put=True),
        Attribute("shared", v.boolean, default=False, post=True, put=True),
        Attribute("host", v.text(10), default="", post=True),
        Attribute("secret", v.text(10), default="", post=True),
        Attribute("project_id", v.text(255), post=True),
        Attribute("tenant_id", v.text(255), post=True),
        Attribute("status", v.text(10)),
    ),
)


def test_defaults_are_filled_and_unset_ones_left_out() -> None:
    assert TABLE.for_create({"kind": "a"}, USER) == {
        "name": "", "kind": "a", "list": [], "shared": False, "host": "", "secret": "", "project_id": "p1",
        "tenant_id": "p1",
    }  # fmt: skip


def test_defaults_are_not_shared() -> None:
    first, second = (TABLE.for_create({"kind": "a"}, USER) for _ in range(2))
    first["list"].append(1)
    assert second["list"] == []


CREATE_ERRORS: list[tuple[Any, RequestContext, type[errors.NetworkingError], str]] = [
    (None, USER, errors.HTTPBadRequest, "'thing' must be an object"),
    ([], USER, errors.HTTPBadRequest, "'thing' must be an object"),
    ({}, USER, errors.HTTPBadRequest, "needs the attribute 'kind'"),
    ({"kind": "c"}, USER, errors.HTTPBadRequest, "invalid input for kind: 'c' is not one of a, b"),
    ({"kind": "a", "colour": 1, "x": 2}, USER, errors.HTTPBadRequest, "unrecognized.*'colour', 'x'"),
    ({"kind": "a", "status": "UP"}, USER, errors.HTTPBadRequest, "'status' cannot be given"),
    ({"kind": "a", "project_id": "p2"}, USER, errors.HTTPBadRequest, "another project"),
    ({"kind": "a", "project_id": "p1", "tenant_id": "p2"}, ADMIN, errors.HTTPBadRequest, "differ"),
    ({"kind": "a"}, RequestContext("", is_admin=True), errors.HTTPBadRequest, "needs a project"),
]


@pytest.mark.parametrize(("body", "context", "error", "says"), CREATE_ERRORS)
def test_create_errors(body: Any, context: RequestContext, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        TABLE.for_create(body, context)


@pytest.mark.parametrize("given", [{"project_id": "p2"}, {"tenant_id": "p2"}, {"project_id": "p2", "tenant_id": "p2"}])
def test_an_admin_creates_for_others(given: dict[str, str]) -> None:
    made = TABLE.for_create({"kind": "a", "shared": True, **given}, ADMIN)
    assert (made["project_id"], made["tenant_id"], made["shared"]) == ("p2", "p2", True)


def test_what_the_client_said_itself_and_is_no_default() -> None:
    body = {"kind": "a", "shared": "false", "host": "h", "name": ""}
    assert TABLE.given_by_client(body, TABLE.for_create(body, USER)) == {"kind": "a", "host": "h"}


def test_update_takes_what_is_given_only() -> None:
    assert TABLE.for_update({"name": "n"}) == {"name": "n"}
    assert TABLE.for_update({}) == {}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"kind": "a"}, "'kind' of a thing cannot be changed"),
        ({"id": "x"}, "'id' of a thing cannot be changed"),
        ({"colour": 1}, "unrecognized"),
        ({"size": 10}, "invalid input for size"),
        (7, "must be an object"),
    ],
)
def test_update_errors(body: Any, says: str) -> None:
    with pytest.raises(errors.HTTPBadRequest, match=says):
        TABLE.for_update(body)


ITEM = {"id": "1", "name": "n", "host": "h", "secret": "s"}


@pytest.mark.parametrize(
    ("hidden", "fields", "seen"),
    [
        ((), (), ITEM),
        (("secret",), (), {"id": "1", "name": "n", "host": "h"}),
        (("secret", "host"), ("name", "host", "unknown"), {"name": "n"}),
    ],
)
def test_strip(hidden: tuple[str, ...], fields: tuple[str, ...], seen: dict[str, str]) -> None:
    assert TABLE.strip(ITEM, hidden, fields) == seen


def test_filters() -> None:
    query = [("name", "a"), ("name", "b"), ("limit", "5"), ("size", "3"), ("kind", "z")]
    assert TABLE.filters(query, ("limit",)) == {"name": ["a", "b"], "size": [3], "kind": ["z"]}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("colour", "x", "not an attribute to filter"), ("list", "x", "not an attribute to filter")],
)
def test_what_cannot_be_filtered_by(name: str, value: str, says: str) -> None:
    with pytest.raises(errors.HTTPBadRequest, match=says):
        TABLE.filters([(name, value)], ())


@pytest.mark.parametrize("value", ["x", "", "99", "1.0"])
def test_values_that_a_strict_filter_cannot_have(value: str) -> None:
    with pytest.raises(errors.InvalidInput, match="size"):
        TABLE.filters([("size", value)], ())


def test_an_attribute_twice_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        AttributeTable("x", "xs", (TABLE.attributes[0], TABLE.attributes[0]))


# --- the real tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource.name)
def test_columns_exist_and_lists_can_be_filtered_and_sorted(resource: Resource) -> None:
    columns = resource.table.c
    for attribute in resource.attributes.attributes:
        if attribute.column_name:
            assert attribute.column_name in columns, attribute.name
        if attribute.sort:
            assert attribute.column_name, attribute.name
        if attribute.filter and attribute.name not in resource.filters:
            # Without a column it is always null, which no filter can ask for.
            assert attribute.column_name or attribute.default is None, attribute.name
    assert [attribute.name for attribute in resource.attributes.attributes if attribute.primary_key] == ["id"]


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource.name)
def test_defaults_would_be_accepted(resource: Resource) -> None:
    for attribute in resource.attributes.attributes:
        if attribute.post and attribute.default not in (REQUIRED, UNSET):
            assert attribute.convert(attribute.default) == attribute.default, attribute.name


# Networking v2.0: what may be given on create and on update.
POST = {
    "network": "admin_state_up availability_zone_hints description dns_domain is_default mtu name"
    " port_security_enabled project_id provider:network_type provider:physical_network provider:segmentation_id"
    " router:external shared tenant_id",
    "subnet": "allocation_pools cidr description dns_nameservers dns_publish_fixed_ip enable_dhcp gateway_ip"
    " host_routes ip_version ipv6_address_mode ipv6_ra_mode name network_id prefixlen project_id"
    " service_types subnetpool_id tenant_id use_default_subnetpool",
    "port": "admin_state_up allowed_address_pairs binding:host_id binding:profile binding:vnic_type description"
    " device_id device_owner dns_domain dns_name extra_dhcp_opts fixed_ips mac_address name network_id"
    " port_security_enabled project_id propagate_uplink_status security_groups tags tenant_id",
}
PUT = {
    "network": "admin_state_up description dns_domain is_default mtu name port_security_enabled provider:network_type"
    " provider:physical_network provider:segmentation_id router:external shared",
    "subnet": "allocation_pools description dns_nameservers dns_publish_fixed_ip enable_dhcp gateway_ip"
    " host_routes name service_types",
    "port": "admin_state_up allowed_address_pairs binding:host_id binding:profile binding:vnic_type description"
    " device_id device_owner dns_domain dns_name extra_dhcp_opts fixed_ips mac_address name port_security_enabled"
    " propagate_uplink_status security_groups",
}


@pytest.mark.parametrize("resource", POST)
def test_operations_are_those_of_the_api(resource: str) -> None:
    table = RESOURCES[resource].attributes
    assert " ".join(sorted(a.name for a in table.attributes if a.post)) == POST[resource]
    assert " ".join(sorted(a.name for a in table.attributes if a.put)) == PUT[resource]
