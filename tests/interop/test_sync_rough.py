"""The synchronous facade handled roughly: callbacks that call back, many threads, short time-outs, nothing left behind.

Each test is a program of its own (sync_run.py). Those that notify do so on objects of their own: an OSD waits for the
watches of programs that have ended without closing them.
"""

from __future__ import annotations

from .ceph_cluster import CephCluster
from .sync_run import run_program as run


def test_watches_closed_by_callbacks(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
io.write_full("watched", b"")
told, closed = [], threading.Event()
def close_mine(notify_id, notifier, cookie, data):
    told.append(data)
    mine.close()
    closed.set()
mine = io.watch("watched", close_mine)
began = time.monotonic()
print(io.notify("watched", "first", 10000), closed.wait(10), time.monotonic() - began < 5)

entered, go_on = threading.Event(), threading.Event()
def blocker(completion):
    entered.set()
    go_on.wait(10)
    other.close()  # its own callback waits behind this one
other = io.watch("watched", lambda *what: told.append(what[3]))
blocking = io.aio_write("y", b"", 0, blocker)
entered.wait(10)
notified = io.aio_notify("watched", lambda completion, code, answers, missed: None, "second", 10000)
time.sleep(0.3)
go_on.set()
began = time.monotonic()
blocking.wait_for_complete_and_cb()
notified.wait_for_complete()
print(time.monotonic() - began < 5, told)
""",
    )
    assert lines == ["True True True", "True [b'first']"]


def test_a_notify_within_a_watchs_callback_ends(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
io.write_full("asked", b"")
answers = []
def again(notify_id, notifier, cookie, data):
    if data == b"outer":
        try:
            io.notify("asked", "inner", 1000)  # nobody but this thread could answer it
        except rados.TimedOut:
            answers.append("timed out")
    return "answer"
with io.watch("asked", again):
    io.aio_notify("asked", lambda c, code, said, missed: answers.append((code, [item[2] for item in said])), "outer",
                  8000).wait_for_complete_and_cb()
print(answers)
""",
    )
    assert lines == ["['timed out', (0, [b'answer'])]"]


def test_objects_elsewhere_do_not_disturb_other_threads(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
elsewhere = rados.Object(io, "obj", "key", "other")
ended = []
def work():
    while not ended:
        elsewhere.seek(0)
        elsewhere.write(b"there")
thread = threading.Thread(target=work)
thread.start()
for number in range(200):
    io.write_full(f"here{number}", b"")
    assert (io.get_namespace(), io.get_locator_key()) == ("", "")
ended.append(True)
thread.join()
print(sorted({(item.nspace, item.locator_key) for item in io.list_objects() if item.key.startswith("here")}))
elsewhere.seek(0)
print(elsewhere.read(), elsewhere.stat()[0], io.get_last_version() > 0)
elsewhere.remove()
""",
    )
    assert lines == ["[('', None)]", "b'there' 5 True"]


def test_shutdown_under_load(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
sys.setswitchinterval(1e-5)
raised = set()
def work(io, number):
    try:
        while True:
            appended = io.aio_append(f"load{number}", b"b", lambda completion: None)
            if number % 2:
                appended.wait_for_complete_and_cb()
            else:
                io.read("x")
    except rados.Error as problem:
        raised.add(type(problem).__name__)
for _ in range(10):
    other = rados.Rados(conffile=CONF)
    other.connect()
    context = other.open_ioctx("rbd")
    threads = [threading.Thread(target=work, args=(context, number)) for number in range(8)]
    [thread.start() for thread in threads]
    time.sleep(0.03)
    other.shutdown()
    [thread.join() for thread in threads]
print(raised <= {"ConnectionShutdown", "RadosStateError"} or raised)
""",
    )
    assert lines == ["True"]


def test_closing_under_load(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
sys.setswitchinterval(1e-6)
raised = set()
def work(io, number):
    try:
        while True:
            io.aio_append(f"load{number}", b"b")
            io.set_namespace("")
            io.get_pool_id()
    except BaseException as problem:
        raised.add(repr(problem))
for _ in range(40):
    context = cluster.open_ioctx("rbd")
    threads = [threading.Thread(target=work, args=(context, number)) for number in range(6)]
    [thread.start() for thread in threads]
    time.sleep(0.01)
    context.close()
    [thread.join() for thread in threads]
print(raised)
""",
    )
    assert lines == ["{\"IoctxStateError('RADOS Ioctx state error (The pool is closed)')\"}"]


def test_time_outs_of_many_threads(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
cluster.conf_set("rados_osd_op_timeout", "1")
ended = []
def work(number):
    began = time.monotonic()
    try:
        io.read("x") if number % 2 else io.write_full("y", b"")
    except rados.TimedOut:
        ended.append(0.9 <= time.monotonic() - began < 10)
mon("osd set", key="pause")
try:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
finally:
    mon("osd unset", key="pause")
print(ended == [True] * 100, io.read("x"))
""",
    )
    assert lines == ["True b'hello'"]


def test_threads_of_a_forked_child_find_the_settings_of_before(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
io.set_namespace("deep")
io.write_full("x", b"deep")
for _ in range(5):
    child = os.fork()
    if child == 0:
        sys.setswitchinterval(1e-6)
        together, wrong = threading.Barrier(16), []
        def work():
            together.wait()
            try:
                if io.read("x") != b"deep":
                    wrong.append("elsewhere")
            except BaseException as problem:
                wrong.append(problem)
        threads = [threading.Thread(target=work) for _ in range(16)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print(wrong, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
""",
    )
    assert lines == ["[]"] * 5


def test_forks_in_a_thread_under_load(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
ended, codes = [], []
def load():
    while not ended:
        io.write_full("load", b"x" * 4096)
def forks():
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os._exit(io.read("x") != b"hello")
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
threads = [threading.Thread(target=load), threading.Thread(target=forks)]
[thread.start() for thread in threads]
threads[1].join()
ended.append(True)
threads[0].join()
print(codes, io.read("x"))
""",
    )
    assert lines == ["[0, 0, 0, 0, 0, 0, 0, 0] b'hello'"]


def test_nothing_is_left_behind(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
import warnings
warnings.simplefilter("always")
cluster.shutdown()
def left():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(gc.get_objects())
def cycle(number):
    with rados.Rados(conffile=CONF) as other:
        context = other.open_ioctx("rbd")
        context.aio_write("y", b"1", 0, lambda completion: None)
        watch = context.watch("x", lambda *what: None)
        if number % 2:
            context.close()
[cycle(number) for number in range(10)]
before = left()
[cycle(number) for number in range(40)]
after = left()
print(after[:2] == before[:2], after[2] - before[2] < 400 or after[2] - before[2])
""",
    )
    assert lines == ["True True"]


def test_two_clusters(one_osd: CephCluster, no_auth: CephCluster) -> None:
    lines = run(
        one_osd,
        f"""
there = rados.Rados(conffile={str(no_auth.conf_path)!r})
there.connect()
other = there.open_ioctx("rbd")
other.write_full("x", b"there")
seen = []
def callback(completion, data):
    seen.append((data, other.read("x")))
io.aio_read("x", 5, 0, callback).wait_for_complete_and_cb()
print(seen, there.get_fsid() != cluster.get_fsid())
child = os.fork()
if child == 0:
    os._exit((io.read("x"), other.read("x")) != (b"hello", b"there"))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
cluster.shutdown()
print(other.read("x"))
there.shutdown()
""",
    )
    assert lines == ["[(b'hello', b'there')] True", "0", "b'there'"]


def test_pools_that_nobody_has_reported_yet(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
cluster.create_pool("brand-new")
with cluster.open_ioctx("brand-new") as new:
    print(set(new.get_stats().values()))
cluster.delete_pool("brand-new")
""",
    )
    assert lines == ["{0}"]


def test_a_fork_while_another_thread_connects(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
away = rados.Rados(conf={"mon_host": "127.0.0.1:1", "auth_client_required": "none"})
def connect():
    try:
        away.connect(timeout=2)
    except rados.TimedOut as problem:
        print(problem, flush=True)
connecting = threading.Thread(target=connect)
connecting.start()
until(lambda: "locked" in repr(away._lock) and "unlocked" not in repr(away._lock))
child = os.fork()
if child == 0:
    away.conf_set("client_mount_timeout", "1")
    connect()
    assert io.read("x") == b"hello"
    away.shutdown()
    os._exit(7)
connecting.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), io.read("x"))
""",
    )
    timed_out = "[errno 110] RADOS timed out (error connecting to the cluster)"
    assert lines == [timed_out, timed_out, "7 b'hello'"]


def test_without_uvloop(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
cluster.shutdown()
sys.modules["uvloop"] = None
with rados.Rados(conffile=CONF) as other, other.open_ioctx("rbd") as io:
    print(type(other.session().thread.loop).__module__, io.read("x"))
    io.write_full("seen", b"")
    with io.watch("seen", lambda *what: "seen"):
        print(io.notify("seen"))
    child = os.fork()
    if child == 0:
        os._exit(io.read("x") != b"hello")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), io.read("x"))
""",
    )
    assert lines == ["asyncio.unix_events b'hello'", "True", "0 b'hello'"]


def test_in_the_thread_of_another_event_loop(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
import asyncio
async def main():
    print(io.read("x"), await asyncio.to_thread(io.read, "x"))
    with rados.Rados(conffile=CONF) as other, other.open_ioctx("rbd") as there:
        print(there.aio_read("x", 5, 0).wait_for_complete_and_cb())
    assert asyncio.get_running_loop().is_running()
asyncio.run(main())
""",
    )
    assert lines == ["b'hello' b'hello'", "0"]


def test_objects_of_many_megabytes(one_osd: CephCluster) -> None:
    lines = run(
        one_osd,
        """
piece = os.urandom(1 << 20) * 20
large = rados.Object(io, "large")
for _ in range(5):
    large.write(piece)
print(large.offset == large.stat()[0] == 100 << 20)
large.seek(0)
print(all(large.read(len(piece)) == piece for _ in range(5)), large.read())
print(io.read("large", 100 << 20) == piece * 5)
for call in (lambda: io.write_full("huge", bytes(100 << 20)), lambda: io.write("huge", b"x", 200 << 20)):
    try:
        call()
    except rados.OSError as problem:
        print(problem)
large.remove()
""",
    )
    assert lines == [
        "True",
        "True b''",
        "True",
        "[errno 90] Ioctx.write_full(rbd): failed to write huge",
        "[errno 27] Ioctx.write(rbd): failed to write huge",
    ]
