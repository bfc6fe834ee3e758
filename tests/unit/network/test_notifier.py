"""The decision tables of the notification path, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from cove.network import notifier
from cove.network.notifier import Delivery, Notification, decide, dhcp_relevant_change, notification_of

DECISIONS = [
    # method, reserved DHCP port, scheduler on → fanout, cast, schedule
    ("network_create_end", False, True, (False, False, False)),
    ("network_update_end", False, True, (False, True, False)),
    ("network_delete_end", False, True, (True, False, False)),
    ("subnet_create_end", False, True, (False, True, True)),
    ("subnet_update_end", False, True, (False, True, False)),
    ("subnet_delete_end", False, True, (False, True, False)),
    ("port_create_end", False, True, (False, True, True)),
    ("port_create_end", True, True, (False, True, False)),
    ("port_update_end", False, True, (False, True, False)),
    ("port_delete_end", False, True, (False, True, False)),
    *((method, False, False, (True, False, False)) for method in notifier.DELIVERY),
    ("port_create_end", True, False, (True, False, False)),
]


@pytest.mark.parametrize(("method", "reserved", "scheduler_on", "expected"), DECISIONS)
def test_decide(method: str, reserved: bool, scheduler_on: bool, expected: tuple[bool, bool, bool]) -> None:
    assert decide(method, reserved_dhcp_port=reserved, scheduler_on=scheduler_on) == Delivery(*expected)


def test_the_tables_cover_the_nine_methods() -> None:
    nine = {method.replace(".", "_") for method in notifier.METHODS}
    assert len(nine) == 9
    assert set(notifier.DELIVERY) == set(notifier.PRIORITY) == nine


PORT = {"id": "p", "network_id": "n", "fixed_ips": [{"subnet_id": "s", "ip_address": "192.0.2.2"}], "name": "x"}
SUBNET = {"id": "s", "network_id": "n", "cidr": "192.0.2.0/24"}
NETWORK = {"id": "n", "name": "net"}

NOTIFICATIONS: list[tuple[dict[str, Any], str, Notification | None]] = [
    ({"network": NETWORK}, "network.create.end", Notification("network_create_end", "n", {"network": NETWORK})),
    ({"network": NETWORK}, "network.update.end", Notification("network_update_end", "n", {"network": NETWORK})),
    ({"network": NETWORK}, "network.delete.end", Notification("network_delete_end", "n", {"network_id": "n"})),
    (
        {"subnet": SUBNET, "network": NETWORK},
        "subnet.create.end",
        Notification("subnet_create_end", "n", {"subnet": SUBNET, "network": NETWORK}),
    ),
    ({"subnet": SUBNET}, "subnet.update.end", Notification("subnet_update_end", "n", {"subnet": SUBNET})),
    (
        {"subnet": SUBNET},
        "subnet.delete.end",
        Notification("subnet_delete_end", "n", {"subnet_id": "s", "network_id": "n"}),
    ),
    (
        {"port": PORT, "network": NETWORK},
        "port.create.end",
        Notification("port_create_end", "n", {"port": PORT, "network": NETWORK}),
    ),
    ({"port": PORT}, "port.update.end", Notification("port_update_end", "n", {"port": PORT})),
    (
        {"port": PORT},
        "port.delete.end",
        Notification("port_delete_end", "n", {"port_id": "p", "network_id": "n", "fixed_ips": PORT["fixed_ips"]}),
    ),
    # not told
    ({"port": PORT}, "port.create.start", None),
    ({"port": PORT}, "port_create_end", None),
    ({"router": {"id": "r", "network_id": "n"}}, "router.create.end", None),
    ({"router": {"id": "r", "network_id": "n"}}, "port.create.end", None),
    ({"port": {"id": "p"}}, "port.create.end", None),
    ({"port": {"id": "p", "network_id": ""}}, "port.update.end", None),
    ({"subnet": {"network_id": "n"}}, "subnet.delete.end", None),
    ({"network": {}}, "network.update.end", None),
    ({}, "port.create.end", None),
]


@pytest.mark.parametrize(("data", "method", "expected"), NOTIFICATIONS)
def test_notification_of(data: dict[str, Any], method: str, expected: Notification | None) -> None:
    assert notification_of(data, method) == expected


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "y"}, False),
        ({"device_id": "vm"}, False),
        ({"device_owner": "compute:nova"}, False),
        ({"device_owner": "network:router_interface"}, True),
        ({"admin_state_up": False}, False),
        ({"status": "ACTIVE"}, False),
        ({"fixed_ips": []}, True),
        ({"mac_address": "fa:16:3e:00:00:02"}, True),
        ({"extra_dhcp_opts": [{}]}, True),
        ({"dns_name": "vm"}, True),
        ({"dns_assignment": []}, True),
        ({"dns_domain": "example."}, True),
    ],
)
def test_dhcp_relevant_change(change: dict[str, Any], told: bool) -> None:
    assert dhcp_relevant_change(PORT, {**PORT, **change}) is told
