from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    (v.ipv4_address, "192.0.2.1", "192.0.2.1"),
    (v.ipv4_cidr, "192.0.2.77/24", "192.0.2.0/24"),
    (v.ipv4_cidr, "192.0.2.0/255.255.255.0", "192.0.2.0/24"),
    (v.dns_name, "", ""),
    (v.dns_name, "VM-1.Example.", "vm-1.example."),
    (v.nameservers, None, []),
    (v.nameservers, ["192.0.2.1"], ["192.0.2.1"]),
    (
        v.host_routes,
        [{"destination": "0.0.0.0/0", "nexthop": "192.0.2.1"}],
        [{"destination": "0.0.0.0/0", "nexthop": "192.0.2.1"}],
    ),
    (v.ip_pools, [{"start": "192.0.2.1", "end": "192.0.2.2"}], [{"start": "192.0.2.1", "end": "192.0.2.2"}]),
    (v.fixed_ips, [{"ip_address": "192.0.2.1", "subnet_id": None}], [{"ip_address": "192.0.2.1"}]),
    (v.fixed_ips, [{}], [{}]),
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
    (v.address_pairs, [{"ip_address": "192.0.2.9/28"}], [{"ip_address": "192.0.2.0/28"}]),
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
    (v.ipv4_address, "192.0.2.256", "not an IPv4 address"),
    (v.ipv4_address, "192.0.2.1/24", "not an IPv4 address"),
    (v.ipv4_address, "2001:db8::1", "IPv6 is not supported yet"),
    (v.ipv4_address, 1, "not an IPv4 address"),
    (v.ipv4_cidr, "192.0.2.0", "not a network in CIDR form"),
    (v.ipv4_cidr, "192.0.2.0/33", "not a network in CIDR form"),
    (v.ipv4_cidr, "0.0.0.0/0", "prefix length of 0"),
    (v.ipv4_cidr, "2001:db8::/64", "IPv6 is not supported yet"),
    (v.ipv4_cidr, None, "not a network in CIDR form"),
    (v.dns_name, "-vm", "not a DNS name"),
    (v.dns_name, "a..b", "not a DNS name"),
    (v.dns_name, "vm_1", "not a DNS name"),
    (v.dns_name, "vm,1", "not a DNS name"),
    (v.nameservers, "192.0.2.1", "not a list"),
    (v.nameservers, ["192.0.2.1", "192.0.2.1"], "twice"),
    (v.nameservers, ["a"] * 257, "at most 256"),
    (v.host_routes, [{"destination": "192.0.2.0/24"}], "lacks 'nexthop'"),
    (v.host_routes, [{"destination": "192.0.2.0/24", "nexthop": "x"}], "not an IPv4 address"),
    (v.host_routes, [{"destination": "192.0.2.0/24", "nexthop": "192.0.2.1"}] * 2, "twice"),
    (v.ip_pools, [{"start": "192.0.2.1"}], "lacks 'end'"),
    (v.ip_pools, ["192.0.2.1"], "not an object"),
    (v.ip_pools, {}, "not a list"),
    (v.fixed_ips, [{"address": "192.0.2.1"}], "'address'"),
    (v.fixed_ips, [{"subnet_id": "x"}], "not a UUID"),
    (v.fixed_ips, [{"ip_address": "192.0.2.1"}] * 2, "twice"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu"}], "lacks 'opt_value'"),
    (v.extra_dhcp_opts, [{"opt_name": "a b", "opt_value": "1"}], "opt_name"),
    (v.extra_dhcp_opts, [{"opt_name": "a,b", "opt_value": "1"}], "opt_name"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu", "opt_value": ""}], "empty"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu", "opt_value": "1\ntag:x"}], "control character"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu", "opt_value": "1", "ip_version": 5}], "not 4 or 6"),
    (v.extra_dhcp_opts, [{"opt_name": "mtu", "opt_value": "1"}] * 2, "twice"),
    (v.address_pairs, [{"mac_address": "fa:16:3e:00:00:01"}], "lacks 'ip_address'"),
    (v.address_pairs, [{"ip_address": "192.0.2.1"}] * 2, "twice"),
    (v.empty_list("leave it out"), ["x"], "leave it out"),
    (v.mapping_or_none, "x", "not an object"),
]


def _name(value: Any) -> str:
    return getattr(value, "__qualname__", "").split(".")[0] or repr(value)[:40]


@pytest.mark.parametrize(("convert", "value", "kept"), GOOD, ids=_name)
def test_good(convert: Any, value: Any, kept: Any) -> None:
    result = convert(value)
    assert result == kept
    assert type(result) is type(kept)


@pytest.mark.parametrize(("convert", "value", "reason"), BAD, ids=_name)
def test_bad(convert: Any, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        convert(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVERY = sorted({convert for convert, _, _ in (*GOOD, *BAD)}, key=id)


@given(st.sampled_from(EVERY), JSON)
def test_any_json_is_kept_or_refused_with_a_reason(convert: Any, value: Any) -> None:
    try:
        kept = convert(value)
    except ValueError:
        return
    assert convert(kept) == kept  # a value of ours is a good value


@given(st.text())
def test_no_accepted_text_can_break_a_line(value: str) -> None:
    for convert in (v.text(1000), v.dns_name, v.mac_address, v.ipv4_address):
        try:
            kept = convert(value)
        except ValueError:
            continue
        assert len(kept.splitlines()) <= 1
        assert "\x00" not in kept
