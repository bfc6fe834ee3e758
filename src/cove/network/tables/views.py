"""The attributes of what is only looked at: availability zones, use of addresses, providers of services."""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import Attribute, AttributeTable
from cove.network.tables.common import NAME_LENGTH_MAX, PROJECT_LENGTH_MAX
from cove.network.validators import Validator

_TEXT = v.text(255)
_COUNT = Validator(lambda value: value, {"type": "integer", "minimum": 0}, "count")
"""Any number of addresses; those of an IPv6 subnet need more than 64 bits."""

DETAILS = "ip_availability_details"
DETAILS_COUNTED = (
    "total_ips_in_subnet",
    "total_ips_in_allocation_pool",
    "used_ips_in_subnet",
    "used_ips_in_allocation_pool",
)
_DETAILS = Validator(lambda value: value, v.object_schema(dict.fromkeys(DETAILS_COUNTED, _COUNT.schema)), DETAILS)

IP_VERSION = Attribute("ip_version", v.number_of((4, 6)), filter=True, column="-")
"""Only to filter by: what is counted then is only what belongs to subnets of that version."""

AVAILABILITY_ZONE = AttributeTable(
    "availability_zone",
    "availability_zones",
    (
        Attribute("name", _TEXT, filter=True),
        Attribute("resource", v.one_of(("network",)), filter=True),
        Attribute("state", v.one_of(("available", "unavailable")), filter=True),
    ),
    extension="availability_zone",
)

NETWORK_IP_AVAILABILITY = AttributeTable(
    "network_ip_availability",
    "network_ip_availabilities",
    (
        Attribute("network_id", v.uuid_text, filter=True, sort=True, primary_key=True),
        Attribute("network_name", v.text(NAME_LENGTH_MAX), filter=True),
        Attribute("project_id", v.text(PROJECT_LENGTH_MAX), filter=True),
        Attribute("tenant_id", v.text(PROJECT_LENGTH_MAX), filter=True),
        Attribute("total_ips", _COUNT),
        Attribute("used_ips", _COUNT),
        Attribute("subnet_ip_availability", v.items),
        Attribute(DETAILS, _DETAILS, extension="network-ip-availability-details"),
        IP_VERSION,
    ),
    extension="network-ip-availability",
)

SERVICE_PROVIDER = AttributeTable(
    "service_provider",
    "service_providers",
    (
        Attribute("service_type", _TEXT, filter=True),
        Attribute("name", _TEXT, filter=True),
        Attribute("default", v.boolean, filter=True),
    ),
    extension="service-type",
)
