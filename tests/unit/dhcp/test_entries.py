"""When dnsmasq must reload: the table against a model of dnsmasq's memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.dhcp.drivers.entries import EntryTable, Plan, Reload
from cove.dhcp.drivers.hostfiles import KEY_PREFIX_6, HostEntry, PortEntries


def mac(n: int) -> str:
    return f"fa:16:3e:00:00:{n:02x}"


def line(ip: int, n: int, note: str = "") -> str:
    return f"{mac(n)},h{note},1.1.1.{ip}"


def entry(ip: int, n: int, note: str = "") -> PortEntries:
    """A port with one IPv4 address."""
    address = f"1.1.1.{ip}"
    host = HostEntry(address, mac(n), (address,), line(ip, n, note), line(ip, n, note))
    return PortEntries(mac(n), (host,), {address: f"{address}\th{note}"})


def entry_6(n: int, *ips: int) -> PortEntries:
    """Port n with these IPv6 addresses, all in one reservation."""
    addresses = tuple(f"fd77::{ip:x}" for ip in ips)
    text = ",".join([mac(n), "tag:dhcpv6", *(f"[{address}]" for address in addresses)])
    return PortEntries(mac(n), (HostEntry(f"{KEY_PREFIX_6}{n}", mac(n), addresses, text, text),))


def table(*entries: PortEntries) -> EntryTable:
    made = EntryTable()
    made.change([], entries)
    return made


def test_an_addition_needs_no_reload():
    plan = EntryTable().change([], [entry(10, 1)])
    assert plan.reload is Reload.NO
    assert plan.hosts == {"1.1.1.10": line(10, 1) + "\n"}
    assert plan.reserved == {"1.1.1.10": mac(1)}
    assert plan.names == {"1.1.1.10": "1.1.1.10\th\n"}
    assert plan.released == []


def test_the_same_again_is_nothing():
    assert table(entry(10, 1)).change([entry(10, 1)], [entry(10, 1)]).is_empty()


def test_a_removal_waits():
    plan = table(entry(10, 1)).change([entry(10, 1)], [])
    assert plan.reload is Reload.LATER
    assert plan.hosts == plan.names == {"1.1.1.10": None}
    assert plan.released == [(mac(1), "1.1.1.10")]


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
    assert plan.hosts["1.1.1.10"] == line(10, 1, "x") + "\n"


def test_an_address_taken_over_in_one_step_is_released():
    made = table(entry(10, 1))
    plan = made.change([entry(10, 1)], [entry(10, 2)])
    assert plan.reload is Reload.NOW
    assert plan.released == [(mac(1), "1.1.1.10")]
    assert made.owner("1.1.1.10") == mac(2)


def test_a_late_removal_does_not_take_the_address_from_its_new_owner():
    made = table(entry(10, 1))
    made.change([], [entry(10, 2)])
    plan = made.change([entry(10, 1)], [])
    assert plan.is_empty()
    assert made.owner("1.1.1.10") == mac(2)


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
    assert plan.hosts == {"1.1.1.10": None, "1.1.1.12": line(12, 3) + "\n"}
    assert plan.options == {"port-a": None}
    assert {item.key for item in made.entries()} == {"1.1.1.11", "1.1.1.12"}
    assert made.names().keys() == {"1.1.1.11", "1.1.1.12"}
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
    wanted: dict[int, tuple[int, str]] = {}  # MAC → address and note
    for kind, n, ip, note in history:
        if kind == "r":
            memory.reload()
            made.reloaded()
            continue
        old = [entry(wanted[n][0], n, wanted[n][1])] if n in wanted else []
        if kind == "d":
            plan = made.change(old, [])
            wanted.pop(n, None)
        else:
            if any(has[0] == ip and key != n for key, has in wanted.items()):
                continue  # the database would refuse
            plan = made.change(old, [entry(ip, n, note)])
            wanted[n] = (ip, note)
        memory.apply(plan)
        if plan.reload is Reload.NOW:
            made.reloaded()
        for key, has in wanted.items():
            assert memory.answers(mac(key)) == line(has[0], key, has[1])
        assert memory.files == {f"1.1.1.{has[0]}": line(has[0], key, has[1]) for key, has in wanted.items()}


# -- IPv6: one reservation for all of a port's addresses ---------------------------------------------------------------


def test_both_versions_of_a_mac_do_not_disturb_each_other():
    made = table(entry(10, 1))
    made.change([entry(10, 1)], [])
    assert made.change([], [entry_6(1, 0xA)]).reload is Reload.NO
    assert made.change([], [entry(10, 1)]).reload is Reload.NOW


def test_a_port_that_loses_one_of_its_addresses_releases_that_one():
    made = table(entry_6(1, 0xA, 0xB))
    plan = made.change([entry_6(1, 0xA, 0xB)], [entry_6(1, 0xB)])
    assert plan.released == [(mac(1), "fd77::a")]
    assert plan.reload is Reload.NOW
    assert plan.hosts == {f"{KEY_PREFIX_6}1": f"{mac(1)},tag:dhcpv6,[fd77::b]\n"}
    assert (made.owner("fd77::a"), made.owner("fd77::b")) == (None, mac(1))


def test_an_address_is_taken_from_a_port_of_whose_loss_nobody_has_told_yet():
    made = table(entry_6(1, 0xA, 0xB))
    plan = made.change([], [entry_6(2, 0xA)])
    assert plan.hosts == {f"{KEY_PREFIX_6}1": None, f"{KEY_PREFIX_6}2": f"{mac(2)},tag:dhcpv6,[fd77::a]\n"}
    assert plan.released == [(mac(1), "fd77::a"), (mac(1), "fd77::b")]
    assert plan.reload is Reload.NOW
    made.reloaded()
    late = made.change([entry_6(1, 0xA, 0xB)], [entry_6(1, 0xB)])
    assert late.hosts == {f"{KEY_PREFIX_6}1": f"{mac(1)},tag:dhcpv6,[fd77::b]\n"}
    assert (made.owner("fd77::a"), made.owner("fd77::b")) == (mac(2), mac(1))


def test_two_ports_swap_their_addresses_in_one_step():
    made = table(entry_6(1, 0xA), entry_6(2, 0xB))
    plan = made.change([entry_6(1, 0xA), entry_6(2, 0xB)], [entry_6(1, 0xB), entry_6(2, 0xA)])
    assert sorted(plan.released) == [(mac(1), "fd77::a"), (mac(2), "fd77::b")]
    assert plan.reserved == {"fd77::b": mac(1), "fd77::a": mac(2)}
    assert None not in plan.hosts.values()


@given(
    st.lists(
        st.tuples(st.sampled_from("ad"), st.integers(1, 3), st.frozensets(st.integers(1, 4), max_size=3)), max_size=25
    )
)
def test_no_address_is_ever_in_two_files(history):
    """Also where the news of a loss come after those of the gain, which the database never tells in that order."""
    made = EntryTable()
    files: dict[str, str] = {}
    known: dict[int, PortEntries] = {}
    for kind, n, ips in history:
        old = [known.pop(n)] if n in known else []
        new = [entry_6(n, *sorted(ips))] if kind == "a" and ips else []
        plan = made.change(old, new)
        if new:
            known[n] = new[0]
        for name, text in plan.hosts.items():
            files.pop(name, None)
            if text is not None:
                files[name] = text
        addresses = [field for text in files.values() for field in text.strip().split(",") if field.startswith("[")]
        assert len(addresses) == len(set(addresses))
        assert files.keys() == {item.key for item in made.entries()}
        for item in made.entries():
            assert all(made.owner(address) == item.mac_address for address in item.ip_addresses)
        if new:
            assert all(made.owner(f"fd77::{ip:x}") == mac(n) for ip in ips)
