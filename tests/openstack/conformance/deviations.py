"""Where Cove differs from Neutron on purpose, each with its reason. Everything else that differs is a bug."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Deviation:
    """Patterns (of fnmatch) for the scenario's title, the call, the difference; and why it is so."""

    scenario: str
    call: str
    difference: str
    why: str


ANY = "*"
"""Whatever."""
UNSEEN = "Neutron's answer tells whoever asks that somebody else has an object of that id"
METHODS = "a method that the path does not take: Neutron looks at the body first, which no body could make right"
ADDRESSES = (
    Deviation(ANY, "* PUT subnetpools/*", "subnetpool: additional key *", "Neutron leaves out what was not changed"),
    Deviation(ANY, "* PUT subnetpools/*", 'subnetpool.*_prefixlen "*", not *', "text in Neutron's other answers, too"),
    Deviation(
        "subnet pool: *", "* PUT subnetpools/*", 'subnetpool.revision_number "<same>", *', "the same prefixes as before"
    ),
    Deviation(
        "subnet pool: *",
        "* PUT subnetpools/*",
        "status 200, not 400 InvalidInput",
        "default_quota null is what GET shows of a pool without a quota: so it can be taken away again",
    ),
    Deviation(
        "subnet pool: changes by the administrator",
        "* PUT subnetpools/*",
        "subnetpool.default_quota null, not 300",
        "it was taken away with null, as above",
    ),
    Deviation(
        "subnet pool: values that are refused",
        "* POST subnetpools",
        "status 400 HTTPBadRequest, not 201",
        "a name of more than 255 characters: Neutron's own column has no room for it, which SQLite does not mind",
    ),
    Deviation(
        "subnet: *",
        "* PUT subnets/*",
        'subnet.revision_number "<greater>", not "<same>"',
        "pools, name servers and routes are part of the subnet: If-Match must not miss their changes",
    ),
    Deviation("subnet: *", "bob POST subnets", "status 404 NetworkNotFound, not 403 *", UNSEEN),
)
OTHERS = (
    Deviation("tag: as others", "bob *", "status 404 TagResourceNotFound, not 403 *", UNSEEN),
    Deviation("agent: *", "alice *", "type AgentNotFound, not HTTPNotFound", UNSEEN),
    Deviation("network ip availability: *", "alice *", "type NetworkNotFound, not HTTPNotFound", UNSEEN),
    Deviation("agent: *", "* POST agents", "status 405 *, not 400 *", METHODS),
    Deviation("network ip availability: *", "* POST *", "status 405 *, not 400 *", METHODS),
    Deviation("extension: *", "* POST extensions", "status 405 *, not 404*", METHODS),
    Deviation("extension: *", ANY, "type HTTPNotFound, not None", "Neutron has another form of error there only"),
    Deviation("agent: *", ANY, 'agent*.description null, not ""', "no description is no description, if emptied, too"),
    Deviation("agent: *", "* networks/*/dhcp-agents", "agents*: no key *", "Neutron shows columns of its table there"),
    Deviation("availability zone: *", "*&fields=name", "availability_zones*: no key *", "Neutron forgets about fields"),
    Deviation("service provider: *", ANY, "status 200, not 404 *", "Neutron was recorded without its flavors plugin"),
)
WITHOUT_ROUTERS = "Neutron has is_default of networks with routers only"
MORE_FILTERS = "a filter by an attribute that Neutron shows, but does not filter by"
NETWORKS = (
    Deviation("network: *", "* networks*", "* PolicyNotAuthorized, not 400 HTTPBadRequest", WITHOUT_ROUTERS),
    Deviation("network: *", "admin POST networks", "type InvalidInput, not HTTPBadRequest", WITHOUT_ROUTERS),
    Deviation("network: values*", "alice POST networks", "type InvalidInput, not HTTPBadRequest", WITHOUT_ROUTERS),
    Deviation("network: what only*", "admin *", "status 201, not 400 HTTPBadRequest", WITHOUT_ROUTERS),
    Deviation("network: what only*", "admin DELETE *net3}", "an earlier call's object is missing", WITHOUT_ROUTERS),
    Deviation("network: changes by the a*", "admin PUT *", "status 200, not 400 HTTPBadRequest", WITHOUT_ROUTERS),
    Deviation("network: what only*", "admin POST *", "status 400 InvalidInput, not 201", "a VXLAN id has 24 bits"),
    Deviation("network: what only*", "admin DELETE *net22}", "an earlier call's object is missing", "as above"),
    Deviation("network: several segments", ANY, "status 400 *, not 201", "one network has one segment here"),
    Deviation("network: segments*", "admin PUT *", 'network.revision* "<greater>", *', "the segment is part of it"),
    Deviation("network: paths*", ANY, "status 405 *, not 404 *", METHODS),
    Deviation("list: fields", "*?fields=", "networks[]: additional key *", "an empty list of fields is none at all"),
)
PORTS = (
    Deviation(ANY, "* ports*", 'port.status "ACTIVE", not "DOWN"', "no DHCP server has to answer for it: it is ready"),
    Deviation("port: *", "* PUT ports/*", 'port.revision* "<greater>", *', "the binding is part of the port"),
    Deviation("port: values*", "alice POST *", "status 400 *, not 201", "a multicast MAC is nobody's address"),
    Deviation("port: *", "* POST *", "* InvalidInput, not 409 NeutronDb*", "a name of an option twice is no race"),
    Deviation("port: several*", "* POST *", "type MacAddressInUse, not NeutronDb*", "a name of Neutron's tables"),
    Deviation("*: filters*", "*&*", "status 200, not 400 *", MORE_FILTERS),
    Deviation("*: filters*", "*changed_since=x", "type InvalidInput, not HTTPBadRequest", MORE_FILTERS),
    Deviation("list: order", "*sort_key=name", "status 200, not 400 *", "sort_dir is optional, says the API reference"),
    Deviation("list: order", "*sort_key=description*", "status 200, not 400 *", "to sort by more is no harm"),
    Deviation("list: order", "*created_at*", "status 200, not 400 *", "an attribute to sort by that Neutron lacks"),
    Deviation("port: filters", "*nonsense=1", "status 400 *, not 200", "a part of fixed_ips that there is not"),
)
GROUPS = (
    Deviation("security group: *", ANY, "*.belongs_to_default_sg *, not null", "Neutron says it of single rules only"),
    Deviation("security group rule: *", "bob *", "type SecurityGroupRuleNotFound, not HTTPNotFound", UNSEEN),
    Deviation("security group rule: *", "bob POST *", "status 404 SecurityGroupNotFound, not 403 *", UNSEEN),
    Deviation("*security group rule: *", "* PUT *", "status 405 *, not 400 *", METHODS),
)
DEVIATIONS = (
    *ADDRESSES,
    *OTHERS,
    *NETWORKS,
    *PORTS,
    *GROUPS,
    Deviation(ANY, ANY, "network*: additional key is_default", "Neutron shows it with routers only; clients know it"),
    Deviation(ANY, ANY, "port*: additional key ip_allocation", "Neutron shows it with segments only; clients know it"),
    Deviation(ANY, ANY, "status 4?? *, not 5?? *", "Neutron fails where the request is wrong"),
    Deviation(ANY, "* ports*", "port.binding:vif_* *", "Cove binds every port to a bridge of its own"),
    Deviation(ANY, "* ports*", "port.binding:vif_details: *", "Cove binds every port to a bridge of its own"),
)


def reason(scenario: str, call: str, difference: str) -> str | None:
    """Why this difference is as it should be, or None."""
    for known in DEVIATIONS:
        if (
            fnmatchcase(scenario, known.scenario)
            and fnmatchcase(call, known.call)
            and fnmatchcase(difference, known.difference)
        ):
            return known.why
    return None
