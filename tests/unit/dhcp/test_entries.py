"""When dnsmasq must reload: the table against a model of dnsmasq's memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.dhcp.drivers.entries import EntryTable, Plan, Reload
from cove.dhcp.drivers.hostfiles import HostEntry


def entry(ip: int, mac: int, note: str = "") -> HostEntry:
    address, mac_address = f"1.1.1.{ip}", f"fa:16:3e:00:00:{mac:02x}"
    line = f"{mac_address},h{note},{address}"
    return HostEntry(address, mac_address, line, f"{address}\th{note}", line)


def table(*entries: HostEntry) -> EntryTable:
    made = EntryTable()
    made.change([], entries)
    return made


def test_an_addition_needs_no_reload():
    plan = EntryTable().change([], [entry(10, 1)])
    assert plan.reload is Reload.NO
    assert plan.hosts == {"1.1.1.10": entry(10, 1).host_line + "\n"}
    assert plan.names == {"1.1.1.10": "1.1.1.10\th\n"}
    assert plan.released == []


def test_the_same_again_is_nothing():
    assert table(entry(10, 1)).change([entry(10, 1)], [entry(10, 1)]).is_empty()


def test_a_removal_waits():
    plan = table(entry(10, 1)).change([entry(10, 1)], [])
    assert plan.reload is Reload.LATER
    assert plan.hosts == plan.names == {"1.1.1.10": None}
    assert plan.released == [(entry(10, 1).mac_address, "1.1.1.10")]


@pytest.mark.parametrize(
    ("now", "reload"),
    [
        (entry(10, 2), Reload.NOW),  # the address goes to another MAC
        (entry(11, 1), Reload.NOW),  # the MAC comes back with another address
        (entry(10, 1), Reload.NOW),  # both come back: another line of that MAC may lie over it
        (entry(11, 2), Reload.NO),  # nothing in common
    ],
)
def test_what_touches_something_removed_reloads_first(now, reload):
    made = table(entry(10, 1))
    made.change([entry(10, 1)], [])
    assert made.change([], [now]).reload is reload
    made = table(entry(10, 1))
    made.change([entry(10, 1)], [])
    made.reloaded()
    assert made.change([], [now]).reload is Reload.NO


def test_a_changed_line_reloads_but_keeps_the_lease_of_the_same_mac():
    plan = table(entry(10, 1)).change([entry(10, 1)], [entry(10, 1, "x")])
    assert plan.reload is Reload.NOW
    assert plan.released == []
    assert plan.hosts["1.1.1.10"] == entry(10, 1, "x").host_line + "\n"


def test_an_address_taken_over_in_one_step_is_released():
    made = table(entry(10, 1))
    plan = made.change([entry(10, 1)], [entry(10, 2)])
    assert plan.reload is Reload.NOW
    assert plan.released == [(entry(10, 1).mac_address, "1.1.1.10")]
    assert made.get("1.1.1.10") == entry(10, 2)


def test_a_late_removal_does_not_take_the_address_from_its_new_owner():
    made = table(entry(10, 1))
    made.change([], [entry(10, 2)])
    plan = made.change([entry(10, 1)], [])
    assert plan.is_empty()
    assert made.get("1.1.1.10") == entry(10, 2)


def test_options():
    made = EntryTable()
    assert made.change([], [], options={"port-a": "1\n"}).reload is Reload.NO
    assert made.change([], [], options={"port-a": "1\n"}).is_empty()
    assert made.change([], [], options={"port-b": None}).is_empty()
    assert made.change([], [], options={"port-a": "2\n"}).reload is Reload.NOW
    assert made.change([], [], options={"port-a": None}).reload is Reload.LATER
    assert made.change([], [], options={"port-a": "1\n"}).reload is Reload.NOW
    made.reloaded()
    assert not made.has_stale()


def test_replace_removes_what_is_no_longer_wanted():
    made = table(entry(10, 1), entry(11, 2))
    made.change([], [], options={"port-a": "1\n"})
    plan = made.replace([entry(11, 2), entry(12, 3)], {})
    assert plan.hosts == {"1.1.1.10": None, "1.1.1.12": entry(12, 3).host_line + "\n"}
    assert plan.options == {"port-a": None}
    assert {item.ip_address for item in made.entries()} == {"1.1.1.11", "1.1.1.12"}
    assert made.options() == {}


def test_the_most_urgent_reload_wins():
    plan = Plan()
    for reload, expected in ((Reload.LATER, Reload.LATER), (Reload.NO, Reload.LATER), (Reload.NOW, Reload.NOW)):
        plan.need(reload)
        assert plan.reload is expected


class Memory:
    """dnsmasq's memory: a line is taken unless its address is taken; later lines of a MAC lie over earlier ones."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.lines: list[str] = []

    def apply(self, plan: Plan) -> None:
        for name, text in plan.hosts.items():
            if text is None:
                self.files.pop(name, None)
            else:
                self.files[name] = text.strip()
                self._read(text.strip())
        if plan.reload is Reload.NOW:
            self.reload()

    def reload(self) -> None:
        self.lines = []
        for name in sorted(self.files):
            self._read(self.files[name])

    def _read(self, line: str) -> None:
        if all(known.rsplit(",", 1)[1] != line.rsplit(",", 1)[1] for known in self.lines):
            self.lines.append(line)

    def answers(self, mac: str) -> str | None:
        found = [line for line in self.lines if line.startswith(mac)]
        return found[-1] if found else None


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from("asdr"), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["", "x"])),
        max_size=25,
    )
)
def test_dnsmasq_always_answers_what_is_wanted(history):
    """Ports with one MAC and one address each, unique both, as in the database; reloads come when they like."""
    made, memory = EntryTable(), Memory()
    wanted: dict[int, HostEntry] = {}  # by MAC
    for kind, mac, ip, note in history:
        if kind == "r":
            memory.reload()
            made.reloaded()
            continue
        old = wanted.get(mac)
        if kind == "d":
            plan = made.change([old] if old else [], [])
            wanted.pop(mac, None)
        else:
            new = entry(ip, mac, note)
            holder = next((key for key, item in wanted.items() if item.ip_address == new.ip_address), mac)
            if holder != mac:
                continue  # the database would refuse
            plan = made.change([old] if old else [], [new])
            wanted[mac] = new
        memory.apply(plan)
        if plan.reload is Reload.NOW:
            made.reloaded()
        for item in wanted.values():
            assert memory.answers(item.mac_address) == item.host_line
        assert memory.files == {item.ip_address: item.host_line for item in wanted.values()}
