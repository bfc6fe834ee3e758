"""Short programs, run by Debian's Python with Ceph's module `rados`, or by ours with the facade of that interface.

    PYTHON sync_programs.py MODULE CONF POOL

A line of JSON for each: its name, and what it printed or raised. Programs see `rados`, a connected `cluster`, an
`io` on the pool, and `show`. The names of objects are their own. `test_sync.py` compares the lines.
"""

import importlib
import json
import sys
import time

PROGRAMS = {
    "data": """
        show(io.write("d", b"hello"), io.write("d", b"J", 0), io.append("d", b" world"), io.read("d"))
        show(io.read("d", 5), io.read("d", 100, 6), io.read("d", 5, 100), io.read("d", length=2, offset=1))
        show(io.trunc("d", 3), io.read("d"), io.trunc("d", 5), io.read("d"), io.write_full("d", b"x"), io.read("d"))
        show(io.stat("d")[0], type(io.stat("d")[1]).__name__, io.remove_object("d"))
    """,
    "read nothing": "io.read('none')",
    "read zero bytes": "io.write_full('z', b'abc'); io.read('z', 0)",
    "read zero bytes of an empty object": "io.write_full('z0', b''); show(io.read('z0', 0))",
    "negative offset": "io.write('d', b'x', -1)",
    "negative length": "io.read('d', -1)",
    "text for a number": "io.read('d', 'x')",
    "too far": "io.write('far', b'x', 1 << 62)",
    "text for bytes": "io.write('d', 'text')",
    "bytearray": "io.write_full('d', bytearray(b'x'))",
    "bytes for a name": "io.read(b'd')",
    "no name": "io.read(None)",
    "empty name": "io.write('', b'x')",
    "long name": "io.write('n' * 3000, b'x')",
    "stat nothing": "io.stat('none')",
    "remove nothing": "io.remove_object('none')",
    "trunc nothing": "show(io.trunc('none', 5))",
    "writesame": "show(io.writesame('ws', b'abc', 9), io.read('ws'), io.writesame('ws', b'abc', 10))",
    "cmpext": """
        io.write_full("ce", b"abcdef")
        show(io.cmpext("ce", b"abc"), io.cmpext("ce", b"abx"), io.cmpext("ce", b"def", 3), io.cmpext("ce", b"axc"))
    """,
    "cmpext nothing": "io.cmpext('none', b'x')",
    "xattrs": """
        show(io.set_xattr("x", "b", b"1"), io.set_xattr("x", "a", b""), io.set_xattr("x", "c", b"\\0\\xff"))
        show(io.get_xattr("x", "a"), io.get_xattr("x", "c"), list(io.get_xattrs("x")), io.rm_xattr("x", "b"))
        show(io.rm_xattr("x", "b"), dict(io.get_xattrs("x")))
    """,
    "no such xattr": "io.write('x0', b''); io.get_xattr('x0', 'none')",
    "xattr of nothing": "io.get_xattr('none', 'a')",
    "xattrs of nothing": "io.get_xattrs('none')",
    "rm_xattr of nothing": "io.rm_xattr('none', 'a')",
    "long xattr name": "io.set_xattr('x', 'x' * 300, b'')",
    "text for an xattr": "io.set_xattr('x', 'a', 'text')",
    "execute": "io.write('ex', b''); show(io.execute('ex', 'hello', 'say_hello', b'you'))",
    "execute, short": "io.write('ex', b''); show(io.execute('ex', 'hello', 'say_hello', b'you', 3))",
    "execute, no such class": "io.write('ex', b''); io.execute('ex', 'nosuch', 'method', b'')",
    "execute on nothing": "io.execute('none', 'hello', 'say_hello', b'')",
    "write op": """
        with rados.WriteOpCtx() as op:
            op.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
            op.write_full(b"0123456789")
            op.set_xattr("a", b"v")
            io.operate_write_op(op, "wo")
            show(io.read("wo"), io.get_xattr("wo", "a"))
            op.write(b"xy", 2); op.append(b"!"); op.rm_xattr("a")
            show(io.operate_write_op(op, "wo"), io.read("wo"), dict(io.get_xattrs("wo")))
            op.zero(2, 5)
            io.operate_write_op(op, "wo")
            show(io.read("wo"))
            op.truncate(3); op.writesame(b"ab", 4, 1)
            io.operate_write_op(op, "wo")
            show(io.read("wo"), io.operate_write_op(op, "wo"))
            op.remove()
            io.operate_write_op(op, "wo")
            io.read("wo")
    """,
    "write op, exclusive": """
        for _ in range(2):
            with rados.WriteOpCtx() as op:
                op.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
                io.operate_write_op(op, "we")
    """,
    "write op, mtime": """
        with rados.WriteOpCtx() as op:
            op.write_full(b"x")
            io.operate_write_op(op, "wm", mtime=1234567890)
        show(tuple(io.stat("wm")[1]))
    """,
    "write op, version": """
        io.write_full("wv", b"x")
        version = io.get_last_version()
        with rados.WriteOpCtx() as op:
            op.assert_version(version); op.append(b"y")
            io.operate_write_op(op, "wv")
        show(io.read("wv"), io.get_last_version() > version)
        with rados.WriteOpCtx() as op:
            op.assert_version(version); op.append(b"z")
            io.operate_write_op(op, "wv")
    """,
    "write op, cmpext": """
        io.write_full("wc", b"abc")
        with rados.WriteOpCtx() as op:
            op.cmpext(b"axc"); op.write(b"-")
            try:
                io.operate_write_op(op, "wc")
            except rados.ExtendMismatch as problem:
                show(problem.errno, problem.offset, io.read("wc"))
                raise
    """,
    "write op, FAILOK": """
        io.write_full("wf", b"x")
        with rados.WriteOpCtx() as op:
            op.omap_cmp("k", "v", rados.LIBRADOS_CMPXATTR_OP_EQ)
            op.set_flags(rados.LIBRADOS_OP_FLAG_FAILOK)
            op.append(b"y")
            io.operate_write_op(op, "wf")
        show(io.read("wf"))
    """,
    "omap_cmp": """
        with rados.WriteOpCtx() as op:
            io.set_omap(op, ("k",), (b"v",))
            io.operate_write_op(op, "oc")
        with rados.WriteOpCtx() as op:
            op.omap_cmp("k", "w"); op.write_full(b"no")
            io.operate_write_op(op, "oc")
    """,
    "new without an argument": "rados.WriteOp().create().new()",
    "omap": """
        with rados.WriteOpCtx() as op:
            io.set_omap(op, ("b", "a", "c", "d1", "d2"), (b"1", b"2", b"", b"\\0", b"5"))
            io.operate_write_op(op, "o")
        def pages(make):
            with rados.ReadOpCtx() as op:
                found, code = make(op)
                io.operate_read_op(op, "o")
                show(list(found), code)
        pages(lambda op: io.get_omap_vals(op, "", "", 10))
        pages(lambda op: io.get_omap_vals(op, "b", "d", 1))
        pages(lambda op: io.get_omap_vals(op, None, None, 2))
        pages(lambda op: io.get_omap_keys(op, "a", 2))
        pages(lambda op: io.get_omap_vals_by_keys(op, ("c", "none", "a")))
        with rados.WriteOpCtx() as op:
            io.remove_omap_keys(op, ("a", "none")); io.remove_omap_range2(op, "c", "d2")
            io.operate_write_op(op, "o")
        pages(lambda op: io.get_omap_vals(op, "", "", 10))
        with rados.WriteOpCtx() as op:
            io.clear_omap(op)
            io.operate_write_op(op, "o")
        pages(lambda op: io.get_omap_vals(op, "", "", 10))
    """,
    "omap of nothing": """
        with rados.ReadOpCtx() as op:
            found, _ = io.get_omap_vals(op, "", "", 10)
            try:
                io.operate_read_op(op, "none")
            finally:
                show(list(found))
    """,
    "omap, keys and values": "io.set_omap(rados.WriteOp().create(), ('a', 'b'), (b'1',))",
    "omap, key no text": "io.set_omap(rados.WriteOp().create(), (5,), (b'1',))",
    "aio": """
        seen = []
        c = io.aio_write("a", b"hello", 0, lambda c: seen.append(("write", c.get_return_value())))
        c.wait_for_complete_and_cb()
        io.aio_append("a", b"!").wait_for_complete()
        c = io.aio_read("a", 100, 1, lambda c, data: seen.append((data, c.get_return_value())))
        show(c.wait_for_complete_and_cb(), c.is_complete(), c.is_safe(), c.get_return_value())
        io.aio_read("none", 10, 0, lambda c, data: seen.append((data, c.get_return_value()))).wait_for_complete_and_cb()
        io.aio_stat("a", lambda c, size, mtime: seen.append((size, type(mtime).__name__))).wait_for_complete_and_cb()
        io.aio_stat("none", lambda c, *what: seen.append(what)).wait_for_complete_and_cb()
        c = io.aio_execute("a", "hello", "say_hello", b"", 8192, lambda c, data: seen.append(data))
        c.wait_for_complete_and_cb()
        io.aio_execute("a", "hello", "say_hello", b"", 3, lambda c, d: seen.append(d)).wait_for_complete_and_cb()
        c = io.aio_setxattr("a", "k", b"v"); c.wait_for_complete(); show(c.get_return_value(), io.get_xattr("a", "k"))
        c = io.aio_rmxattr("a", "k"); c.wait_for_complete(); show(c.get_return_value(), dict(io.get_xattrs("a")))
        c = io.aio_cmpext("a", b"help"); c.wait_for_complete(); show(c.get_return_value())
        c = io.aio_writesame("a", b"ab", 6); c.wait_for_complete(); show(c.get_return_value(), io.read("a"))
        c = io.aio_write_full("a", b"full"); io.aio_flush(); show(c.is_complete(), io.read("a"))
        with rados.WriteOpCtx() as op:
            op.append(b"+")
            c = io.operate_aio_write_op(op, "a"); c.wait_for_complete(); show(c.get_return_value())
        with rados.ReadOpCtx() as op:
            found, _ = io.get_omap_vals(op, "", "", 1)
            c = io.operate_aio_read_op(op, "a"); c.wait_for_complete(); show(c.get_return_value(), list(found))
        c = io.aio_remove("a"); c.wait_for_safe(); show(c.get_return_value())
        c = io.aio_remove("a"); c.wait_for_complete(); show(c.get_return_value(), seen)
    """,
    "object": """
        io.write_full("ob", b"0123456789")
        ob = rados.Object(io, "ob")
        show(ob.read(3), ob.read(3), ob.offset, ob.write(b"xy"), ob.seek(0), ob.read(), ob.stat()[0])
        show(ob.set_xattr("a", b"1"), ob.get_xattr("a"), list(ob.get_xattrs()), ob.rm_xattr("a"))
        show(ob.key, ob.nspace, ob.locator_key, ob.state, str(ob).split(",", 1)[1], ob.remove(), ob.state)
        ob.read()
    """,
    "namespaces": """
        io.write_full("same", b"default")
        io.set_namespace("n1"); io.write_full("same", b"n1"); io.write_full("only", b"n1")
        show(io.get_namespace(), io.read("same"), sorted((o.key, o.nspace) for o in io.list_objects()))
        io.set_namespace(rados.LIBRADOS_ALL_NSPACES)
        show(sorted((o.key, o.nspace) for o in io.list_objects() if o.key in ("same", "only")))
        io.set_namespace("")
        show(io.read("same"))
        io.set_namespace("n1"); [o.remove() for o in io.list_objects()]
        show(list(io.list_objects()))
    """,
    "long namespace": "io.set_namespace('n' * 300); io.write('x', b'')",
    "locators": """
        io.set_namespace("located"); io.set_locator_key("key")
        io.write_full("lo", b"1")
        (ob,) = io.list_objects()
        io.set_locator_key("")
        show(ob.key, ob.locator_key, ob.read(), io.get_locator_key(), ob.remove(), list(io.list_objects()))
    """,
    "no locator": "io.set_locator_key(None)",
    "set_read": """
        io.write_full("sr", b"x"); io.set_read(1)
        io.write_full("sr", b"y")
    """,
    "set_read, head": "io.set_read(1); io.set_read(rados.LIBRADOS_SNAP_HEAD); show(io.write_full('sh', b'y'))",
    "locks": """
        show(io.lock_exclusive("l", "name", "cookie", "what", 100), io.unlock("l", "name", "cookie"))
        show(io.lock_shared("l", "name", "c1", "tag"), io.lock_shared("l", "name", "c2", "tag", duration=None))
        io.unlock("l", "name", "c1"); io.unlock("l", "name", "c2")
        io.lock_exclusive("l", "name", "cookie")
        io.lock_exclusive("l", "name", "cookie")
    """,
    "lock, busy": "io.lock_exclusive('lb', 'n', 'c1'); io.lock_shared('lb', 'n', 'c2', 'tag')",
    "unlock nothing": "io.unlock('lu', 'n', 'c')",
    "snapshots": """
        io.write_full("s", b"before")
        show(io.create_snap("one"), [s.name for s in io.list_snaps()])
        io.write_full("s", b"after"); io.create_snap("two")
        one = io.lookup_snap("one")
        show(one.name, type(one.get_timestamp()).__name__, abs(one.get_timestamp().timestamp() - time.time()) < 60)
        io.set_read(one.snap_id); show(io.read("s")); io.set_read(rados.LIBRADOS_SNAP_HEAD)
        show(io.snap_rollback("s", "one"), io.read("s"), [s.name for s in io.list_snaps()])
        io.remove_snap("one"); io.remove_snap("two"); show(list(io.list_snaps()))
        io.create_snap("twice")
        try:
            io.create_snap("twice")
        finally:
            io.remove_snap("twice")
    """,
    "lookup_snap": "io.lookup_snap('none')",
    "remove_snap": "io.remove_snap('none')",
    "snap_rollback": "io.snap_rollback('s', 'none')",
    "snap ids": "io.set_self_managed_snap_write(['x'])",
    "applications": """
        show(io.application_list(), io.application_enable("first"), io.application_list())
        show(io.application_metadata_set("first", "k", "v"), io.application_metadata_get("first", "k"))
        show(io.application_metadata_list("first"), io.application_metadata_remove("first", "k"))
        show(io.application_metadata_list("first"))
        io.application_enable("second")
    """,
    "application metadata, no key": "io.application_metadata_get('rbd', 'none')",
    "application metadata, none": "io.application_metadata_list('none')",
    "application metadata, set": "io.application_metadata_set('none', 'k', 'v')",
    "pools": """
        show(cluster.pool_exists("none"), cluster.pool_lookup("none"), cluster.pool_reverse_lookup(12345))
        number = cluster.pool_lookup(io.name)
        show(cluster.pool_reverse_lookup(number) == io.name, io.get_pool_id() == number, io.get_pool_name())
        show(cluster.get_pool_base_tier(number) == number, io.alignment(), io.name in cluster.list_pools())
        show(cluster.get_inconsistent_pgs(number), sorted(io.get_stats()), sorted(cluster.get_cluster_stats()))
        other = cluster.open_ioctx2(number); show(other.get_pool_name()); other.close(); other.close(); other.read("x")
    """,
    "open_ioctx": "cluster.open_ioctx('none')",
    "open_ioctx2": "cluster.open_ioctx2(12345)",
    "open_ioctx, number": "cluster.open_ioctx(5)",
    "create_pool, exists": "cluster.create_pool(io.name)",
    "create_pool, no name": "cluster.create_pool('')",
    "create_pool, no rule": "cluster.create_pool('ruled', 99)",
    "delete_pool": "cluster.delete_pool('none')",
    "get_pool_base_tier": "cluster.get_pool_base_tier(12345)",
    "mon_command": """
        show(cluster.mon_command('{"prefix": "osd ls"}', b""), cluster.mon_command('{"prefix": "nosuch"}', b""))
        show(cluster.mon_command('{"prefix": "osd ls"}', b"", timeout=30)[0], cluster.wait_for_latest_osdmap())
        show(cluster.mgr_command('{"prefix": "nosuch"}', b""))
    """,
    "mon_command, mapping": "cluster.mon_command({'prefix': 'osd ls'}, b'')",
    "mon_command, text": "cluster.mon_command('{}', '')",
    "ping_monitor": "show('health' in json.loads(cluster.ping_monitor('a')))",
    "ping_monitor, none": "cluster.ping_monitor('none')",
    "blocklist_add": "show(cluster.blocklist_add('1.2.3.4/5', 1)); cluster.blocklist_add('nonsense', 1)",
    "service daemon": """
        show(cluster.service_daemon_register("laundry", "d1", {"a": "b"}), cluster.service_daemon_update({"c": "d"}))
        cluster.service_daemon_register("laundry", "d1", {})
    """,
    "monitor_log, level": "cluster.monitor_log('nonsense', None, None)",
    "monitor_log, callback": "cluster.monitor_log('debug', 5, None)",
    "monitor_log": "show(cluster.monitor_log('debug', None), cluster.monitor_callback)",
    "watch": """
        io.write("w", b"")
        seen = []
        with io.watch("w", lambda notify_id, who, watch_id, data: seen.append((watch_id, data)) or b"ack") as watch:
            number = watch.get_id()
            show(number > 0, watch.check().total_seconds() >= 0, type(watch.check()).__name__, io.notify("w", "hi"))
            show([(watch_id == number, data) for watch_id, data in seen])
            told = []
            c = io.aio_notify("w", lambda *what: told.append(what[1:]), "yo", 3000)
            c.wait_for_complete_and_cb()
            code, answers, missed = told[0]
            show(code, [(who == cluster.get_instance_id(), cookie == number, said) for who, cookie, said in answers])
            show(missed, c.get_return_value())
        show(io.notify("w"), watch.close(), len(seen))
        watch.check()
    """,
    "watch nothing": "io.watch('none', print)",
    "notify nothing": "io.notify('none')",
    "configuration": """
        show(cluster.conf_get("rados_osd_op_timeout") is None, cluster.conf_get("nosuch"), cluster.state)
        show(cluster.conf_set("rados_osd_op_timeout", "5"), float(cluster.conf_get("rados_osd_op_timeout")))
        cluster.conf_set("nosuch", "1")
    """,
    "configuration, text": "cluster.conf_set('rados_osd_op_timeout', 5)",
    "configuration, wrong": "cluster.conf_set('rados_osd_op_timeout', '5x')",
    "arguments": """
        other = rados.Rados()
        show(other.conf_parse_argv(["--mon-host", "1.2.3.4", "foo", "--xyz=3", "--", "x"]), other.conf_get("mon_host"))
        show(other.conf_parse_argv(["a", "-m", "5.6.7.8", "-x"]), other.conf_get("mon_host"), other.conf_parse_argv([]))
        show(other.conf_parse_argv([""]), other.conf_parse_env("NO_SUCH_VARIABLE"), other.state, str(other.version()))
        other.list_pools()
    """,
    "connected twice": "cluster.connect()",
    "shut down": """
        other = rados.Rados(conffile=conf)
        other.connect(); other.shutdown(); other.shutdown(); show(other.state)
        other.conf_get("x")
    """,
    "two names": "rados.Rados(name='client.a', rados_id='b')",
    "name": "rados.Rados(name='invalid')",
    "type": "rados.Rados(name='bad.invalid')",
    "no such file": "rados.Rados(conffile='/nonexistent')",
    "unknown option": "rados.Rados(conf={'nosuch': '1'})",
    "unknown argument": "rados.Rados(nosuch=1)",
    "closed": "io.close(); show(io.state, io.get_namespace()); io.write('x', b'')",
    "closed, list": "io.close(); io.list_objects()",
}

PARTLY = {"unknown argument"}
"""The texts of these exceptions are Python's and Cython's own."""


def main() -> None:
    """Run all programs."""
    module, conf, pool = sys.argv[1:]
    rados = importlib.import_module(module)
    cluster = rados.Rados(conffile=conf)
    cluster.connect()
    for name, program in PROGRAMS.items():
        shown: list[str] = []
        lines = [line for line in program.splitlines() if line.strip()]
        indent = min(len(line) - len(line.lstrip()) for line in lines)
        text = "\n".join(line[indent:] for line in lines)
        io = cluster.open_ioctx(pool)
        try:
            found = {"rados": rados, "cluster": cluster, "io": io, "json": json, "time": time, "conf": conf}
            found["show"] = lambda *values, shown=shown: shown.extend(repr(value) for value in values)
            exec(text, found)  # noqa: S102
            raised = None
        except Exception as problem:
            names = [cls.__name__ for cls in type(problem).__mro__]
            raised = [names, "" if name in PARTLY else str(problem), getattr(problem, "errno", None)]
        io.close()
        print(json.dumps([name, shown, raised]), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
