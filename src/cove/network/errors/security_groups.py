"""Security groups, their rules, and the rules that new ones begin with."""

from __future__ import annotations

from cove.network.errors.base import Conflict, InUse, InvalidInput, NotFound


class SecurityGroupInvalidPortRange(InvalidInput):
    """A range of ports that has one end only, or ends before it begins."""

    form = "port_range_min must be <= port_range_max, and both must be given: {low} and {high} for protocol {protocol}"


class SecurityGroupInvalidPortValue(InvalidInput):
    """Not the number of a port."""

    form = "Invalid value for port {port}: use a number from 1 to 65535 (for ICMP a type or code, from 0 to 255)"


class SecurityGroupInvalidProtocolForPort(InvalidInput):
    """A protocol that has no ports."""

    form = "protocol {protocol} has no ports: leave out port_range_min and port_range_max; {with_ports} have them"


class SecurityGroupInvalidIcmpValue(InvalidInput):
    """Not an ICMP type or code."""

    form = "Invalid value for ICMP {what}: {attribute} is {value}; use a number from 0 to 255"


class SecurityGroupMissingIcmpType(InvalidInput):
    """An ICMP code without a type."""

    form = "the ICMP code (port-range-max) is {value}, but the ICMP type (port-range-min) is missing"


class SecurityGroupProtocolRequiredWithPorts(InvalidInput):
    """Ports of no protocol."""

    form = "port_range_min and port_range_max need a protocol"


class SecurityGroupEthertypeConflictWithProtocol(InvalidInput):
    """A protocol of IPv6 in a rule for IPv4."""

    form = "protocol {protocol} is not for ethertype {ethertype}"


class SecurityGroupRuleInvalidProtocol(InvalidInput):
    """No protocol that is known by a name, or a number."""

    form = "protocol {protocol!r} is not known; use a number from 0 to 255, or one of {known}"


class SecurityGroupRuleInvalidEtherType(InvalidInput):
    """Neither IPv4 nor IPv6."""

    form = "ethertype {ethertype!r} is not one of {known}"


class SecurityGroupRuleParameterConflict(InvalidInput):
    """A prefix of one IP version in a rule for the other."""

    form = "Conflicting value ethertype {ethertype} for remote_ip_prefix {cidr}: they are of different IP versions"


class SecurityGroupMultipleRemoteEntites(InvalidInput):
    """Two ways to say who the other side is."""

    form = "give one of remote_ip_prefix, remote_group_id and remote_address_group_id, not more"


class SecurityGroupNotSingleGroupRules(InvalidInput):
    """A bulk request for rules of several groups."""

    form = "the rules of one request must be of one security group: not of {first} and {second}"


class SecurityGroupRulesNotSingleProject(InvalidInput):
    """A bulk request for rules of several projects."""

    form = "the rules of one request must be of one project: not of {first} and {second}"


class SecurityGroupNotFound(NotFound):
    """No such security group, or not visible to the caller."""

    form = "security group {id} could not be found"


class SecurityGroupRuleNotFound(NotFound):
    """No such rule, or not visible to the caller."""

    form = "security group rule {id} could not be found"


class AddressGroupNotFound(NotFound):
    """No such address group."""

    form = "address group {address_group_id} could not be found: there are none; use remote_ip_prefix"


class DefaultSecurityGroupRuleNotFound(NotFound):
    """No such rule for new groups."""

    form = "default security group rule {id} could not be found"


class SecurityGroupInUse(InUse):
    """Ports are in the group."""

    form = "security group {id} is in use: {reason}"


class SecurityGroupCannotRemoveDefault(InUse):
    """A project's default group goes by an admin's hand only."""

    form = "the default security group of a project cannot be removed"


class SecurityGroupCannotUpdateDefault(InUse):
    """A project's default group keeps its name."""

    form = "the default security group of a project cannot be renamed"


class SecurityGroupDefaultAlreadyExists(InUse):
    """The name of the default group is taken."""

    form = "each project has its default security group already: take another name"


class SecurityGroupRuleExists(InUse):
    """The group has such a rule."""

    form = "the security group has this rule already: {rule_id}"


class DuplicateSecurityGroupRuleInPost(InUse):
    """A bulk request has a rule twice."""

    form = "the request has the same security group rule twice: {rule}"


class DefaultSecurityGroupRuleExists(InUse):
    """There is such a rule for new groups."""

    form = "new security groups get this rule already: {rule_id}"


class DuplicateDefaultSgRuleInPost(InUse):
    """A bulk request has a rule for new groups twice."""

    form = "the request has the same default security group rule twice: {rule}"


class SecurityGroupConflict(Conflict):
    """Groups that do not go together."""

    form = "security groups {groups} cannot be used together: {reason}"
