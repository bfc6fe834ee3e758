"""The synchronous facade through a program's life: forks, threads, signals, any order of closing, the end.

Each test is a program of its own, with a time-out: what hangs, fails. They see `rados`, a connected `cluster`, its
`io`, and an object `x` that holds b"hello".
"""

from __future__ import annotations

import pytest

from .ceph_cluster import CephCluster
from .sync_run import run_program as run


def test_fork(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
io.set_namespace("forked")
io.write_full("x", b"there")
number = cluster.get_instance_id()
listing = io.list_objects()
next(listing)
child = os.fork()
if child == 0:
    assert io.read("x") == b"there" and io.get_namespace() == "forked"
    assert cluster.get_instance_id() != number
    io.aio_write("from", b"child").wait_for_complete_and_cb()
    cluster.shutdown()
    sys.exit(7)
for _ in range(100):
    io.read("x")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), io.read("from"), cluster.get_instance_id() == number)
for end in (os._exit, sys.exit):
    child = os.fork()
    if child == 0:
        end(3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), io.read("x"))
child = os.fork()
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        sys.exit(io.read("x") != b"there")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) or io.read("x") != b"there")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
cluster.shutdown()
""",
    )
    assert lines == ["7 b'child' True", "3 b'there'", "3 b'there'", "0"]


def test_fork_with_operations_in_flight(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
mon("osd set", key="pause")
try:
    told = []
    waiting = io.aio_read("x", 10, 0, lambda c, data: told.append(data))
    watch = None
    child = os.fork()
    if child == 0:
        waiting.wait_for_complete_and_cb()
        assert waiting.get_return_value() == -errno.ESHUTDOWN and told == []
        os._exit(5)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), waiting.is_complete())
finally:
    mon("osd unset", key="pause")
waiting.wait_for_complete_and_cb()
print(waiting.get_return_value(), told)
""",
    )
    assert lines == ["5 False", "5 [b'hello']"]


def test_the_childs_copies_of_the_sockets_are_closed(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
def sockets():
    return sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") for fd in os.listdir("/proc/self/fd")
               if os.path.islink(f"/proc/self/fd/{fd}"))
before = sockets()
child = os.fork()
if child == 0:
    os._exit(sockets())
left = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(before >= left + 2, sockets() == before, io.read("x"))
""",
    )
    assert lines == ["True True b'hello'"]


def test_multiprocessing(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
def work(number):
    io.write_full(f"mp{number}", b"%d" % number)
    return io.read(f"mp{number}")
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(work, range(12)) == [b"%d" % number for number in range(12)])
print(io.read("mp11"))
""",
    )
    assert lines == ["True", "b'11'"]


def test_fork_in_a_callback(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
def callback(completion):
    child = os.fork()
    if child == 0:
        os._exit(io.read("x") != b"hello")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
io.aio_write("cb", b"", 0, callback).wait_for_complete_and_cb()
print(io.read("x"))
""",
    )
    assert lines == ["0", "b'hello'"]


def test_threads(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
wrong = []
def work(name):
    try:
        for number in range(60):
            io.write_full(name, b"%d" % number)
            pending = [io.aio_append(name, b"!") for _ in range(3)]
            [one.wait_for_complete() for one in pending]
            assert io.read(name) == b"%d!!!" % number
    except BaseException as problem:
        wrong.append(problem)
threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(wrong)
""",
    )
    assert lines == ["[]"]


def test_callbacks_may_make_blocking_calls_and_raise(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
import logging
logging.disable()  # it would show what the callbacks raise
order = []
def callback(number):
    def run(completion):
        order.append((number, io.read("x"), threading.current_thread() is threading.main_thread()))
        raise SystemExit(9)
    return run
pending = [io.aio_write("cb", b"", 0, callback(number)) for number in range(5)]
[one.wait_for_complete_and_cb() for one in pending]
print([number for number, *_ in order], order[0][1:])
del pending[1:]
print(sys.getrefcount(pending[0]))
""",
    )
    assert lines == ["[0, 1, 2, 3, 4] (b'hello', False)", "2"]


def test_an_interrupt_ends_a_call_and_its_operation(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
mon("osd set", key="pause")
try:
    for call in (lambda: io.read("x"), io.aio_read("x", 1, 0).wait_for_complete):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            call()
        except KeyboardInterrupt:
            print(time.monotonic() - began < 5)
    until(lambda: len(cluster.session().client.objecter.live_ops()) == 1)  # what wait_for_complete waited for
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    cluster.conf_set("rados_osd_op_timeout", "1")
    try:
        io.read("x")
    except rados.TimedOut as problem:
        print(seen, problem.errno == errno.ETIMEDOUT)
finally:
    mon("osd unset", key="pause")
print(io.read("x"))
""",
    )
    assert lines == ["True", "True", "[1] True", "b'hello'"]


def test_time_outs_of_connecting_and_commands(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
away = rados.Rados(conf={"mon_host": "127.0.0.1:1", "auth_client_required": "none"})
for timeout, option in ((0.5, None), (0, "1")):
    if option:
        away.conf_set("client_mount_timeout", option)
    began = time.monotonic()
    try:
        away.connect(timeout=timeout)
    except rados.TimedOut as problem:
        print(problem, away.state, time.monotonic() - began < 5)
print([thread.name for thread in threading.enumerate() if thread.name == "cove-rados"] != [])
cluster.shutdown()
print([thread.name for thread in threading.enumerate()])
""",
    )
    assert lines == [
        "[errno 110] RADOS timed out (error connecting to the cluster) configuring True",
        "[errno 110] RADOS timed out (error connecting to the cluster) configuring True",
        "True",
        "['MainThread']",
    ]


def test_an_interrupt_while_connecting(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
cluster.shutdown()
away = rados.Rados(conf={"mon_host": "127.0.0.1:1", "auth_client_required": "none"})
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    away.connect(timeout=20)
except KeyboardInterrupt:
    print(away.state)
until(lambda: [thread.name for thread in threading.enumerate()] == ["MainThread"])
""",
    )
    assert lines == ["configuring"]


def test_lines_of_the_clusters_log(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
first, second = threading.Event(), threading.Event()
def one(arg, line, who, sec, nsec, seq, level, msg):
    if b"marked one" in msg and not first.is_set():
        print(arg, b"marked one" in line, who.startswith(b"client"), abs(sec - time.time()) < 60, level, flush=True)
        first.set()
def two(arg, line, channel, name, who, sec, nsec, seq, level, msg):
    if b"marked two" in msg and not second.is_set():
        print(arg, channel, name, level, flush=True)
        second.set()
rados.MonitorLog(cluster, "info", one, "argument")
time.sleep(0.5)
mon("log", logtext=["marked one"])
print(first.wait(20))
cluster.monitor_log2("info", two, 5)
time.sleep(0.5)
mon("log", logtext=["marked two"])
print(second.wait(20), cluster.monitor_callback, cluster.monitor_callback2 == (two, 5))
cluster.monitor_log("info", None)
print(cluster.monitor_callback2)
""",
    )
    assert lines == [
        "argument True True True b'[INF]'",
        "True",
        "5 b'cluster' b'client.admin' b'[INF]'",
        "True None True",
        "None",
    ]


def test_any_order_of_closing(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
told = []
pending = io.aio_read("x", 10, 0, lambda c, data: told.append(data))
listing, attributes = io.list_objects(), io.get_xattrs("x")
next(listing)
watch = io.watch("x", lambda *what: None)
mon("osd set", key="pause")
stuck = io.aio_write("x", b"", 0, lambda c: told.append(c.get_return_value()))
mon("osd unset", key="pause")
cluster.shutdown()
cluster.shutdown()
print(pending.get_return_value(), told[0], stuck.is_complete(), stuck.wait_for_complete_and_cb())
list(attributes)
watch.close()
watch.close()
try:
    io.read("x")
except rados.RadosStateError as problem:
    print(problem)
io.close()
io.close()
""",
    )
    assert lines == [
        "5 b'hello' True 0",
        "RADOS rados state (You cannot perform that operation on a Rados object in state shutdown.)",
    ]


def test_handles_that_are_dropped(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
watch = io.watch("x", lambda *what: None)
del watch
io.aio_write("dropped", b"1")
io.aio_flush()
del io, cluster
gc.collect()
until(lambda: [thread.name for thread in threading.enumerate()] == ["MainThread"])
with rados.Rados(conffile=CONF) as other, other.open_ioctx("rbd") as io:
    print(io.read("dropped"))
""",
    )
    assert lines == ["b'1'"]


@pytest.mark.parametrize("code", [0, 3])
def test_exit_with_everything_open(one_osd: CephCluster, code: int) -> None:
    run(
        one_osd,
        f"""
pending = [io.aio_write(f"exit{{number}}", b"x" * 4096, 0, lambda c: None) for number in range(500)]
watch = io.watch("x", lambda *what: None)
listing = io.list_objects()
next(listing)
def work():
    while True:
        io.read("x")
[threading.Thread(target=work, daemon=True).start() for _ in range(4)]
sys.exit({code})
""",
        code,
    )


def test_exit_while_an_operation_waits(one_osd: CephCluster) -> None:
    try:
        run(
            one_osd,
            """
mon("osd set", key="pause")
threading.Thread(target=io.read, args=("x",), daemon=True).start()
stuck = io.aio_write("x", b"", 0, lambda c: None)
time.sleep(0.2)
sys.exit(4)
""",
            4,
        )
    finally:
        one_osd.peer().mon("osd unset", key="pause")


def test_use_after_the_end_has_begun(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
import atexit
def late():
    try:
        io.read("x")
    except rados.RadosStateError as problem:
        print(problem)
class Last:
    def __del__(self):
        cluster.shutdown()
last = Last()
from cove.rados.sync import runtime
atexit.unregister(runtime._at_exit)
atexit.register(late)
atexit.register(runtime._at_exit)
""",
    )
    assert lines == ["RADOS rados state (the interpreter is about to exit)"]


def test_many_submissions_wait_for_room(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
most = 0
pending = []
for number in range(3000):
    pending.append(io.aio_write("many", b"x" * 10, 10 * number))
    most = max(most, len(cluster.session().pending))
io.aio_flush()
print(all(one.is_complete() and one.get_return_value() == 0 for one in pending), most <= 1024)
big = [io.aio_write_full(f"big{number}", bytes(4 << 20)) for number in range(40)]
io.aio_flush()
print([one.get_return_value() for one in big] == [0] * 40, cluster.session()._bytes)
""",
    )
    assert lines == ["True True", "True 0"]
