from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.network import errors
from cove.network import validators as v

GOOD: list[tuple[Any, Any, Any]] = [
    (v.boolean, True, True),
    (v.boolean, "false", False),
    (v.boolean, "Yes", True),
    (v.boolean, 0, False),
    (v.integer(0, 9), "7", 7),
    (v.text(5), "abcde", "abcde"),
    (v.text(5, breaks=True), "a\nb", "a\nb"),
    (v.optional(v.text(5)), None, None),
    (v.one_of((4, "x")), 4, 4),
    (v.only_null("no"), None, None),
    (v.uuid_text, "9cd3d8ca-ee7a-47d4-a32b-a9227aeedd5d", "9cd3d8ca-ee7a-47d4-a32b-a9227aeedd5d"),
    (v.uuid_text, "9CD3D8CAEE7A47D4A32BA9227AEEDD5D", "9cd3d8ca-ee7a-47d4-a32b-a9227aeedd5d"),
    (v.mac_address, "FA-16-3E-00-00-01", "fa:16:3e:00:00:01"),
    (v.mac_address, "fa163e000001", "fa:16:3e:00:00:01"),
    (v.mac_address, "fa16.3e00.0001", "fa:16:3e:00:00:01"),
    (v.mac_address_or_null, None, None),
    (v.ip_address, "192.0.2.1", "192.0.2.1"),
    (v.ip_address, "2001:DB8:0:0::1", "2001:db8::1"),
    (v.ip_or_null, None, None),
    (v.cidr, "192.0.2.77/24", "192.0.2.0/24"),
    (v.cidr, "192.0.2.0/255.255.255.0", "192.0.2.0/24"),
    (v.cidr, "2001:DB8::1/64", "2001:db8::/64"),
    (v.cidr_or_null, None, None),
    (v.prefix, "0.0.0.0/0", "0.0.0.0/0"),
    (v.prefix, "::/0", "::/0"),
    (v.prefix_or_null, None, None),
    (v.cidr_list, ["192.0.2.9/24", "2001:db8::/64"], ["192.0.2.0/24", "2001:db8::/64"]),
    (v.ip_or_cidr, "2001:db8::1", "2001:db8::1"),
    (v.ip_or_cidr, "2001:db8::1/64", "2001:db8::/64"),
    (v.subnetpool_id, "prefix_delegation", "prefix_delegation"),
    (v.subnetpool_id, None, None),
    (v.service_types(20, 3), ["compute:nova", "compute:nova", "test:1"], ["compute:nova", "test:1"]),
    (v.service_types(20, 3), None, []),
    (v.integer_or_null(0, 9), None, None),
    (v.integer_or_null(0, 9), " 7 ", 7),
    (v.number_of((4, 6)), "6", 6),
    (v.one_of(("slaac", None)), None, None),
    (v.mtu(68, 9000), 0, 0),
    (v.mtu(68, 9000), "1500", 1500),
    (v.name(5), "a b", "a b"),
    (v.name(5), "", ""),
    (v.text_or_null(5), None, ""),
    (v.uuid_or_null, None, None),
    (v.uuid_list, ["9cd3d8ca-ee7a-47d4-a32b-a9227aeedd5d"], ["9cd3d8ca-ee7a-47d4-a32b-a9227aeedd5d"]),
    (v.list_of(v.text(5), 2), ["a", "b"], ["a", "b"]),
    (v.list_of(v.text(5), 2, null=True), None, []),
    (v.list_of(v.text(5), 2, unique=False), ["a", "a"], ["a", "a"]),
    (v.dns_domain, "Example.org.", "example.org."),
    (v.dns_domain, "", ""),
    (v.dns_name, "", ""),
    (v.dns_name, "VM-1.Example.", "vm-1.example."),
    (v.nameservers, None, []),
    (v.nameservers, ["192.0.2.1", "2001:DB8::53"], ["192.0.2.1", "2001:db8::53"]),
    (
        v.host_routes,
        [{"destination": "0.0.0.0/0", "nexthop": "192.0.2.1"}],
        [{"destination": "0.0.0.0/0", "nexthop": "192.0.2.1"}],
    ),
    (
        v.host_routes,
        [{"destination": "2001:db8:9::/48", "nexthop": "FE80::1"}],
        [{"destination": "2001:db8:9::/48", "nexthop": "fe80::1"}],
    ),
    (v.ip_pools, [{"start": "192.0.2.1", "end": "192.0.2.2"}], [{"start": "192.0.2.1", "end": "192.0.2.2"}]),
    (v.ip_pools, [{"start": "2001:db8::A", "end": "2001:db8::F"}], [{"start": "2001:db8::a", "end": "2001:db8::f"}]),
    (v.ip_pools, None, []),
    (v.fixed_ips, [{"ip_address": "2001:DB8::1"}], [{"ip_address": "2001:db8::1"}]),
    (v.fixed_ips, [{"ip_address": "192.0.2.1", "subnet_id": None}], [{"ip_address": "192.0.2.1"}]),
    (v.fixed_ips, [{}], [{}]),
    (v.fixed_ips, [{"ip_address": "192.0.2.1", "more": 1}], [{"ip_address": "192.0.2.1"}]),
    (
        v.extra_dhcp_opts,
        [{"opt_name": "mtu", "opt_value": "1400"}],
        [{"opt_name": "mtu", "opt_value": "1400", "ip_version": 4}],
    ),
    (
        v.extra_dhcp_opts,
        [{"opt_name": "router", "opt_value": ""}],
        [{"opt_name": "router", "opt_value": "", "ip_version": 4}],
    ),
    (
        v.extra_dhcp_opts,
        [{"opt_name": "mtu", "opt_value": None, "ip_version": "6"}],
        [{"opt_name": "mtu", "opt_value": None, "ip_version": 6}],
    ),
    (
        v.extra_dhcp_opts,
        [{"opt_name": "300", "opt_value": "a", "ip_version": 6}, {"opt_name": "mtu", "opt_value": "1"}],
        [
            {"opt_name": "300", "opt_value": "a", "ip_version": 6},
            {"opt_name": "mtu", "opt_value": "1", "ip_version": 4},
        ],
    ),
    (v.address_pairs, [{"ip_address": "192.0.2.9/28"}], [{"ip_address": "192.0.2.0/28"}]),
    (v.address_pairs, [{"ip_address": "2001:DB8::9/64"}], [{"ip_address": "2001:db8::/64"}]),
    (v.address_pairs, [{"ip_address": "0.0.0.0/0"}], [{"ip_address": "0.0.0.0/0"}]),
    (
        v.address_pairs,
        [{"ip_address": "192.0.2.9", "mac_address": "FA-16-3E-00-00-01"}, {"ip_address": "192.0.2.9"}],
        [{"ip_address": "192.0.2.9", "mac_address": "fa:16:3e:00:00:01"}, {"ip_address": "192.0.2.9"}],
    ),
    (v.empty_list("no"), [], []),
    (v.empty_list("no"), None, []),
    (v.mapping_or_none, None, {}),
]

BAD: list[tuple[Any, Any, str]] = [
    (v.boolean, "maybe", "not a boolean"),
    (v.boolean, None, "not a boolean"),
    (v.boolean, [], "not a boolean"),
    (v.integer(0, 9), "x", "not an integer"),
    (v.integer(0, 9), 10, "not between 0 and 9"),
    (v.integer(0, 9), True, "not an integer"),
    (v.integer(0, 9), 1.5, "not an integer"),
    (v.text(5), 5, "not text"),
    (v.text(5), "abcdef", "at most 5"),
    (v.text(5), "a\nb", "control character"),
    (v.text(5), "a\x00b", "control character"),
    (v.text(5, breaks=True), "a\x00b", "control character"),
    (v.one_of((4, 6)), 5, "not one of 4, 6"),
    (v.one_of((True,)), 1, "not one of"),
    (v.only_null("use another"), 1, "use another"),
    (v.uuid_text, "demo", "not a UUID"),
    (v.uuid_text, None, "not a UUID"),
    (v.mac_address, "fa:16:3e:00:00", "not a MAC address"),
    (v.mac_address, "fa:16:3e:00:00:01\n,192.0.2.1", "not a MAC address"),
    (v.mac_address, "01:00:5e:00:00:01", "multicast"),
    (v.mac_address, "ff:ff:ff:ff:ff:ff", "broadcast"),
    (v.mac_address, "00:00:00:00:00:00", "zero"),
    (v.mac_address, 5, "not a MAC address"),
    (v.ip_address, "192.0.2.256", "not an IP address"),
    (v.ip_address, "192.0.2.01", "not an IP address"),
    (v.ip_address, "192.0.2.1/24", "not an IP address"),
    (v.ip_address, "2001:db8::1%eth0", "zone id"),
    (v.ip_address, "fe80::1%1\n", "zone id"),
    (v.ip_address, "::ffff:192.0.2.1", "IPv4 address in the form of IPv6: give 192.0.2.1"),
    (v.ip_address, " 192.0.2.1", "not an IP address"),
    (v.ip_address, "192.0.2.1\n", "not an IP address"),
    (v.ip_address, 1, "not an IP address"),
    (v.ip_address, None, "not an IP address"),
    (v.cidr, "192.0.2.0", "not a network in CIDR form"),
    (v.cidr, "192.0.2.0/33", "not a network in CIDR form"),
    (v.cidr, "2001:db8::/129", "not a network in CIDR form"),
    (v.cidr, "fe80::%eth0/64", "zone id"),
    (v.cidr, "::ffff:192.0.2.0/120", "form of IPv6"),
    (v.cidr, "0.0.0.0/0", "prefix length of 0"),
    (v.cidr, "::/0", "prefix length of 0"),
    (v.cidr, None, "not a network in CIDR form"),
    (v.cidr_list, ["192.0.2.1/24", "192.0.2.0/24"], "there twice"),
    (v.subnetpool_id, "pool", "not a UUID"),
    (v.service_types(20, 3), ["a", "b", "c", "d"], "at most 3"),
    (v.service_types(20, 3), "compute:nova", "not a list"),
    (v.number_of((4, 6)), 5, "not one of 4, 6"),
    (v.one_of(("slaac", None)), "x", "not one of slaac, null"),
    (v.integer(0, 9), "1_0", "not an integer"),
    (v.integer(0, 9), "9" * 5000, "not an integer"),
    (v.mtu(68, 9000), 67, "less than 68"),
    (v.mtu(68, 9000), 9001, "not between"),
    (v.name(5), " a", "white space"),
    (v.name(5, required=True), "  ", "too short"),
    (v.uuid_list, ["9cd3d8ca-ee7a-47d4-a32b-a9227aeedd5d"] * 2, "there twice"),
    (v.uuid_list, None, "not a list"),
    (v.list_of(v.text(5), 2), ["a", "b", "c"], "at most 2"),
    (v.dns_domain, "example.org", "full name"),
    (v.dns_domain, "-.org.", "full name"),
    (v.dns_domain, "a\n.org.", "control character"),
    (v.dns_name, "-vm", "not a DNS name"),
    (v.dns_name, "a..b", "not a DNS name"),
    (v.dns_name, "vm_1", "not a DNS name"),
    (v.dns_name, "vm,1", "not a DNS name"),
    (v.nameservers, "192.0.2.1", "not a list"),
    (v.nameservers, ["2001:db8::1", "2001:DB8::1"], "twice"),
    (v.nameservers, ["a"] * 257, "at most 256"),
    (v.host_routes, [{"destination": "192.0.2.0/24"}], "lacks 'nexthop'"),
    (v.host_routes, [{"destination": "192.0.2.0/24", "nexthop": "x"}], "not an IP address"),
    (v.host_routes, [{"destination": "192.0.2.1/24", "nexthop": "192.0.2.1"}], "did you mean 192.0.2.0/24"),
    (v.host_routes, [{"destination": "127.0.0.0/8", "nexthop": "192.0.2.1"}], "not routable"),
    (v.host_routes, [{"destination": "192.0.2.0/24", "nexthop": "192.0.2.1"}] * 2, "twice"),
    (v.ip_pools, [{"start": "192.0.2.1"}], "lacks 'end'"),
    (v.ip_pools, ["192.0.2.1"], "not a list of objects"),
    (v.ip_pools, {}, "not a list"),
    (v.ip_pools, [{"start": "192.0.2.1", "end": "2001:db8::1"}], "mixes IPv4 and IPv6"),
    (v.fixed_ips, None, "null is not a list"),
    (v.fixed_ips, [{"ip_address": "2001:db8::1"}, {"ip_address": "2001:DB8::1"}], "twice"),
    (v.extra_dhcp_opts, [{"opt_name": "255", "opt_value": "1"}], "from 1 to 254"),
    (v.extra_dhcp_opts, [{"opt_name": "65536", "opt_value": "1", "ip_version": 6}], "from 1 to 65535"),
    (v.address_pairs, [{"ip_address": "224.0.0.5"}], "multicast"),
    (v.address_pairs, [{"ip_address": "192.0.2.1", "mac_address": "x"}], "not a MAC address"),
    (v.address_pairs, [{"ip_address": "192.0.2.1", "other": 1}], "not known"),
    (v.fixed_ips, ["192.0.2.1"], "not an object"),
    (v.fixed_ips, [{"subnet_id": "x"}], "not a UUID"),
    (v.fixed_ips, [{"ip_address": "192.0.2.1"}] * 2, "twice"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu"}], "lacks 'opt_value'"),
    (v.extra_dhcp_opts, [{"opt_name": "a b", "opt_value": "1"}], "opt_name"),
    (v.extra_dhcp_opts, [{"opt_name": "a,b", "opt_value": "1"}], "opt_name"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu", "opt_value": ""}], "empty"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu", "opt_value": "1\ntag:x"}], "control character"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu", "opt_value": "1", "ip_version": 5}], "not one of 4, 6"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu", "opt_value": "1"}] * 2, "twice"),
    (v.empty_list("leave it out"), ["x"], "leave it out"),
    (v.mapping_or_none, "x", "not an object"),
]


TYPED: list[tuple[Any, Any, type[errors.NetworkingError], int]] = [
    (v.address_pairs, [{"mac_address": "fa:16:3e:00:00:01"}], errors.AllowedAddressPairsMissingIP, 400),
    (v.address_pairs, [{"ip_address": "192.0.2.1"}] * 2, errors.DuplicateAddressPairInRequest, 400),
    (
        v.address_pairs,
        [{"ip_address": f"192.0.2.{n}"} for n in range(1, 12)],
        errors.AllowedAddressPairExhausted,
        400,
    ),
    (v.service_types(20, 3), [5], errors.InvalidInputSubnetServiceType, 400),
    (v.service_types(20, 3), [""], errors.InvalidSubnetServiceType, 400),
    (v.service_types(20, 3), ["x"], errors.InvalidSubnetServiceType, 400),
]
"""Values whose refusal has a type of its own on the wire."""


def _name(value: Any) -> str:
    return value.name if isinstance(value, v.Validator) else repr(value)[:40]


@pytest.mark.parametrize(("convert", "value", "kept"), GOOD, ids=_name)
def test_good(convert: Any, value: Any, kept: Any) -> None:
    result = convert(value)
    assert result == kept
    assert type(result) is type(kept)


@pytest.mark.parametrize(("convert", "value", "reason"), BAD, ids=_name)
def test_bad(convert: Any, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        convert(value)


@pytest.mark.parametrize(
    ("convert", "value", "kind"),
    [
        (v.boolean, "x", True),
        (v.integer(0, 9), "x", True),
        (v.integer(0, 9), 10, False),
        (v.number_of((4, 6)), "x", True),
        (v.number_of((4, 6)), 5, False),
        (v.cidr, "10.0.0.0/33", True),
        (v.cidr, "0.0.0.0/0", True),
        (v.ip_address, "x", False),
        (v.address_pairs, [{"ip_address": "10.0.0.0/33"}], False),
        (v.ip_pools, "x", True),
        (v.ip_pools, [{"start": "x", "end": "y"}], False),
        (v.extra_dhcp_opts, [{"opt_name": "mtu"}], True),
        (v.dns_name, 5, True),
        (v.dns_name, "-", False),
    ],
    ids=_name,
)
def test_which_refusals_are_invalid_input_on_the_wire(convert: Any, value: Any, kind: bool) -> None:
    """Where Neutron converts before it checks, what cannot be converted is InvalidInput, the rest HTTPBadRequest."""
    with pytest.raises(ValueError) as caught:
        convert(value)
    assert isinstance(caught.value, v.NotConvertible) is kind


@pytest.mark.parametrize(("convert", "value", "error", "code"), TYPED, ids=_name)
def test_bad_in_a_way_that_has_a_type(convert: Any, value: Any, error: type[Exception], code: int) -> None:
    with pytest.raises(error) as caught:
        convert(value)
    assert isinstance(caught.value, errors.NetworkingError)
    assert caught.value.code == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVERY = [convert for convert, _, _ in GOOD]


@given(st.sampled_from(EVERY), JSON)
def test_any_json_is_kept_or_refused_with_a_reason(convert: Any, value: Any) -> None:
    try:
        kept = convert(value)
    except (ValueError, errors.NetworkingError):
        return
    assert convert(kept) == kept  # a value of ours is a good value


KINDS = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value is as a schema says: the part of JSON Schema that the validators use, and no other keyword."""
    length = len(value) if isinstance(value, (str, list)) else 0
    for keyword, wanted in schema.items():
        match keyword:
            case "type":
                kinds = [wanted] if isinstance(wanted, str) else wanted
                fits = any(type(value) is KINDS[kind] for kind in kinds)
            case "enum":
                fits = value in wanted
            case "const":
                fits = value == wanted
            case "anyOf":
                fits = any(_fits(one, value) for one in wanted)
            case "minimum" | "maximum":
                fits = not isinstance(value, int) or (value >= wanted if keyword == "minimum" else value <= wanted)
            case "minLength" | "maxLength":
                fits = not isinstance(value, str) or (length >= wanted if keyword == "minLength" else length <= wanted)
            case "maxItems":
                fits = not isinstance(value, list) or length <= wanted
            case "uniqueItems":
                fits = not isinstance(value, list) or all(value.count(item) == 1 for item in value)
            case "pattern":
                fits = not isinstance(value, str) or re.search(wanted, value) is not None
            case "format":
                fits = not isinstance(value, str) or (
                    (":" in value) == (wanted == "ipv6") if wanted != "uuid" else len(value) == 36
                )
            case "items":
                fits = not isinstance(value, list) or all(_fits(wanted, item) for item in value)
            case "properties":
                fits = not isinstance(value, dict) or all(
                    _fits(wanted[key], item) for key, item in value.items() if key in wanted
                )
            case "required":
                fits = not isinstance(value, dict) or all(key in value for key in wanted)
            case "additionalProperties":
                fits = not isinstance(value, dict) or wanted or all(key in schema["properties"] for key in value)
            case _:
                raise AssertionError(f"{keyword} is not a keyword that is used here")
        if not fits:
            return False
    return True


@pytest.mark.parametrize(("convert", "value", "kept"), GOOD, ids=_name)
def test_schemas_allow_what_is_kept(convert: v.Validator, value: Any, kept: Any) -> None:
    assert _fits(convert.schema, kept), convert.schema
    assert value is not None or _fits(convert.schema, None), convert.schema


@pytest.mark.parametrize(
    ("convert", "value"),
    [
        (v.boolean, "x"),
        (v.integer(0, 9), 10),
        (v.integer_or_null(0, 9), "x"),
        (v.text(3), "abcd"),
        (v.one_of(("a", None)), "b"),
        (v.uuid_list, None),
        (v.list_of(v.text(3), 1), ["a", "b"]),
        (v.list_of(v.text(3)), ["a", "a"]),
        (v.mac_address, "x"),
        (v.cidr, "192.0.2.1"),
        (v.fixed_ips, ["192.0.2.1"]),
        (v.host_routes, [{"destination": "192.0.2.0/24"}]),
        (v.mtu(68, 9000), 5),
    ],
    ids=_name,
)
def test_schemas_refuse_what_is_refused(convert: v.Validator, value: Any) -> None:
    assert not _fits(convert.schema, value)
    with pytest.raises(ValueError):
        convert(value)


@given(st.text())
def test_no_accepted_text_can_break_a_line(value: str) -> None:
    for convert in (v.text(1000), v.dns_name, v.dns_domain, v.mac_address, v.ip_address, v.cidr):
        try:
            kept = convert(value)
        except ValueError:
            continue
        assert len(kept.splitlines()) <= 1
        assert "\x00" not in kept
