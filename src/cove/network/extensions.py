"""The extension list: what of Networking v2.0 beyond its core is there, by the aliases that clients look for.

An alias is listed because something carries it: an attribute (`Attribute.extension`) or a resource
(`AttributeTable.extension`), or else the code that `carrier` names. Names and dates are Neutron's, for clients that
compare them; the descriptions are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Extension:
    """One entry. `carrier`: the code that makes it true ("module:name"), where no table has its alias."""

    alias: str
    name: str
    description: str
    updated: str
    carrier: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "alias": self.alias,
            "name": self.name,
            "description": self.description,
            "updated": self.updated,
            "links": [],
        }


_RBAC = "cove.network.rbac_policies:RESOURCE"
_QUOTAS = "cove.api.quota_routes:quota_routes"
_CONTROLLER = "cove.network.controller:Controller"
_FILTERS = "cove.network.attributes:AttributeTable.filters"

_ALL = (
    Extension(
        "aap-reject-multicast",
        "Allowed address pairs reject multicast extension",
        "Allowed address pairs are no multicast addresses",
        "2026-04-01T00:00:00-00:00",
        "cove.network.validators_addresses:address_pairs",
    ),
    Extension("address-scope", "Address scope", "Addresses are unique within a scope", "2015-07-26T10:00:00-00:00"),
    Extension("agent", "agent", "Who serves networks, and whether it lives", "2013-02-03T10:00:00-00:00"),
    Extension(
        "agent-resources-synced",
        "Agent's Resource View Synced to Placement",
        "Whether an agent's resources are known to a placement service; there is none",
        "2018-12-19T00:00:00-00:00",
    ),
    Extension(
        "agent_sort_key",
        "Agents Sort Key",
        "Agents can be sorted",
        "2013-02-03T10:00:00-00:00",
        "cove.network.tables.agent:AGENT",
    ),
    Extension(
        "allowed-address-pairs",
        "Allowed Address Pairs",
        "Further addresses that a port may send from",
        "2013-07-23T10:00:00-00:00",
    ),
    Extension(
        "availability_zone", "Availability Zone", "Agents and networks are in zones", "2015-01-01T10:00:00-00:00"
    ),
    Extension(
        "availability_zone_filter",
        "Availability Zone Filter Extension",
        "Zones can be filtered",
        "2018-06-22T10:00:00-00:00",
        "cove.network.availability_zones:find",
    ),
    Extension(
        "binding",
        "Port Binding",
        "The host that a port is on, and how it is plugged in there",
        "2014-02-03T10:00:00-00:00",
    ),
    Extension(
        "default-subnetpools",
        "Default Subnetpools",
        "Subnets can be taken from the default pool without naming it",
        "2016-02-18T18:00:00-00:00",
    ),
    Extension(
        "dhcp_agent_scheduler",
        "DHCP Agent Scheduler",
        "Networks are given to DHCP agents",
        "2013-02-07T10:00:00-00:00",
        "cove.network.agents:add_network",
    ),
    Extension(
        "dns-domain-ports", "dns_domain for ports", "Ports have a DNS domain of their own", "2017-04-24T10:00:00-00:00"
    ),
    Extension(
        "dns-integration",
        "DNS Integration",
        "Ports have names that the DHCP servers' DNS knows",
        "2015-08-15T18:00:00-00:00",
    ),
    Extension(
        "empty-string-filtering",
        "Empty String Filtering Extension",
        "Lists can be filtered by an empty value",
        "2018-05-01T10:00:00-00:00",
        _FILTERS,
    ),
    Extension("external-net", "Neutron external network", "Networks may lead outside", "2013-01-14T10:00:00-00:00"),
    Extension(
        "extra_dhcp_opt", "Neutron Extra DHCP options", "DHCP options of a port's own", "2013-03-17T12:00:00-00:00"
    ),
    Extension(
        "filter-validation",
        "Filter parameters validation",
        "Unknown filters of a list are refused",
        "2018-07-04T10:00:00-00:00",
        _FILTERS,
    ),
    Extension("ip_allocation", "IP Allocation", "When a port gets its addresses", "2016-06-10T23:00:00-00:00"),
    Extension(
        "ip-substring-filtering",
        "IP address substring filtering",
        "Ports by a part of their address",
        "2017-11-28T09:00:00-00:00",
        "cove.network.ports:RESOURCE",
    ),
    Extension("net-mtu", "Network MTU", "Networks tell their MTU", "2015-03-25T10:00:00-00:00"),
    Extension(
        "net-mtu-writable",
        "Network MTU (writable)",
        "A network's MTU can be set",
        "2017-07-12T00:00:00-00:00",
        "cove.network.tables.network:NETWORK",
    ),
    Extension(
        "network_availability_zone",
        "Network Availability Zone",
        "In which zones a network is served, and should be",
        "2015-01-01T10:00:00-00:00",
    ),
    Extension(
        "network-ip-availability",
        "Network IP Availability",
        "How many addresses of networks and subnets are used",
        "2015-09-24T00:00:00-00:00",
    ),
    Extension(
        "network-ip-availability-details",
        "Network IP Availability Details Extension",
        "How many of the addresses that are used lie in allocation pools",
        "2025-10-31T00:00:00-00:00",
    ),
    Extension("pagination", "Pagination support", "Lists come in pages", "2016-06-12T00:00:00-00:00", _CONTROLLER),
    Extension(
        "port-mac-address-regenerate",
        "Neutron Port MAC address regenerate",
        "A port whose MAC is set to null gets a new one",
        "2018-05-03T10:00:00-00:00",
        "cove.network.tables.port:PORT",
    ),
    Extension("port-security", "Port Security", "Whether a port's addresses are guarded", "2012-07-23T10:00:00-00:00"),
    Extension(
        "port-security-groups-filtering",
        "Port filtering on security groups",
        "Ports by their security groups",
        "2018-01-09T09:00:00-00:00",
        "cove.network.ports:RESOURCE",
    ),
    Extension("project-id", "project_id field enabled", "tenant_id is called project_id", "2016-09-09T09:09:09-09:09"),
    Extension("provider", "Provider Network", "What a network is made of underneath", "2012-09-07T10:00:00-00:00"),
    Extension(
        "quota-check-limit",
        "Quota engine limit check",
        "A quota below what is used can be refused",
        "2021-09-08T16:00:00-00:00",
        "cove.network.quotas:settle",
    ),
    Extension(
        "quota-check-limit-default",
        "Quota engine limit check by default",
        "A quota below what is used is refused, unless it is forced",
        "2024-08-21T16:00:00-00:00",
        "cove.network.tables.quota:MODIFIERS",
    ),
    Extension(
        "quota_details",
        "Quota details management support",
        "How much of a quota is used",
        "2017-02-10T10:00:00-00:00",
        _QUOTAS,
    ),
    Extension(
        "quotas",
        "Quota management support",
        "What a project may have at most",
        "2012-07-29T10:00:00-00:00",
        _QUOTAS,
    ),
    Extension(
        "rbac-address-scope",
        "Add address_scope type to RBAC",
        "Address scopes can be shared with single projects",
        "2020-02-12T00:00:00-00:00",
        _RBAC,
    ),
    Extension(
        "rbac-policies", "RBAC Policies", "Objects can be shared with single projects", "2015-06-17T12:15:12-00:00"
    ),
    Extension(
        "rbac-security-groups",
        "Add security_group type to network RBAC",
        "Security groups can be shared with single projects",
        "2019-02-14T00:00:00-00:00",
        _RBAC,
    ),
    Extension(
        "rbac-subnetpool",
        "Add subnetpool type to RBAC",
        "Subnet pools can be shared with single projects",
        "2020-02-05T00:00:00-00:00",
        _RBAC,
    ),
    Extension(
        "revision-if-match",
        "If-Match constraints based on revision_number",
        "Changes can be bound to the revision that they are meant for",
        "2016-12-11T00:00:00-00:00",
        "cove.network.controller:revision_of",
    ),
    Extension(
        "security-group", "security-group", "Which traffic may reach and leave a port", "2012-10-05T10:00:00-00:00"
    ),
    Extension(
        "security-groups-default-rules",
        "Default rules for security groups",
        "The rules that new security groups begin with",
        "2022-12-19T10:00:00-00:00",
    ),
    Extension(
        "security-groups-normalized-cidr",
        "Normalized CIDR field for security group rules",
        "Rules also tell their prefix without host bits",
        "2020-07-28T10:00:00-00:00",
    ),
    Extension(
        "security-groups-remote-address-group",
        "Remote address group id field for security group rules",
        "Rules have a field for an address group",
        "2020-08-25T10:00:00-00:00",
    ),
    Extension(
        "security-groups-rules-belongs-to-default-sg",
        "Security group rule belongs to the project's default security group",
        "Rules tell whether their group is the project's default",
        "2023-05-23T10:00:00-00:00",
    ),
    Extension(
        "security-groups-shared-filtering",
        "Security group filtering on the shared field",
        "Security groups by whether they are shared",
        "2021-10-05T09:00:00-00:00",
    ),
    Extension(
        "service-type",
        "Neutron Service Type Management",
        "Providers of further services; there are none",
        "2013-01-20T00:00:00-00:00",
    ),
    Extension(
        "sort-key-validation",
        "Sort keys validation",
        "Unknown sort keys are refused",
        "2018-07-04T10:00:00-00:00",
        _CONTROLLER,
    ),
    Extension("sorting", "Sorting support", "Lists can be sorted", "2016-06-12T00:00:00-00:00", _CONTROLLER),
    Extension(
        "standard-attr-description",
        "standard-attr-description",
        "Objects have a description",
        "2016-02-10T10:00:00-00:00",
    ),
    Extension(
        "standard-attr-revisions",
        "Resource revision numbers",
        "Objects count their changes",
        "2016-04-11T10:00:00-00:00",
    ),
    Extension(
        "standard-attr-tag",
        "Tag support for resources with standard attribute: network, subnet, port, subnetpool, security_group",
        "Objects have tags",
        "2017-01-01T00:00:00-00:00",
    ),
    Extension(
        "standard-attr-timestamp",
        "Resource timestamps",
        "Objects know when they were made and changed",
        "2016-09-12T10:00:00-00:00",
    ),
    Extension(
        "stateful-security-group",
        "Stateful security group",
        "Whether a security group follows connections",
        "2019-11-26T09:00:00-00:00",
    ),
    Extension(
        "subnet-dns-publish-fixed-ip",
        "Subnet DNS publish fixed IP",
        "Whether addresses of a subnet are published in an outside DNS",
        "2019-05-24T10:00:00-00:00",
    ),
    Extension(
        "subnet-external-network",
        "Subnet belongs to an external network",
        "Subnets tell whether their network leads outside",
        "2024-02-05T18:00:00-00:00",
    ),
    Extension(
        "subnet-service-types",
        "Subnet service types",
        "Subnets can be kept for ports of certain owners",
        "2016-03-15T18:00:00-00:00",
    ),
    Extension(
        "subnet_onboard",
        "Subnet Onboard",
        "Subnets that are there can be taken into a pool",
        "2018-12-18T09:00:00-00:00",
        "cove.network.subnetpool_operations:onboard_network_subnets",
    ),
    Extension(
        "subnetpool-prefix-ops",
        "Subnet Pool Prefix Operations",
        "Prefixes can be added to and removed from a pool",
        "2019-02-08T10:00:00-00:00",
        "cove.network.subnetpool_operations:add_prefixes",
    ),
    Extension("subnet_allocation", "Subnet Allocation", "Subnets can be taken from pools", "2015-03-30T10:00:00-00:00"),
    Extension(
        "tag-creation",
        "Tag creation extension",
        "Several tags can be added at once",
        "2024-23-07T10:00:00-00:00",
        "cove.network.tags:extend",
    ),
    Extension(
        "tag-ports-during-bulk-creation",
        "Tag Ports During Bulk Creation",
        "Ports can be made with their tags",
        "2019-12-29T19:00:00-00:00",
        "cove.network.tags:add",
    ),
    Extension(
        "uplink-status-propagation",
        "Uplink status propagation extension",
        "Whether a port follows the state of its uplink",
        "2018-05-31T18:00:00-00:00",
    ),
    Extension(
        "uplink-status-propagation-updatable",
        "Uplink status propagation updatable extension",
        "A port's propagate_uplink_status can be changed",
        "2024-09-03T18:00:00-00:00",
        "cove.network.tables.port:PORT",
    ),
)

EXTENSIONS: Mapping[str, Extension] = {extension.alias: extension for extension in _ALL}
"""Alias → extension, in the order in which they are listed."""
