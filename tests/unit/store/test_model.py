# mypy: allow-untyped-calls
"""Random vectors on the real engine, against the model in plain Python; the store is reopened now and then."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cove.messenger import LoopbackNetwork
from cove.store import Store
from cove.wire.encoding import Decoder
from cove.wire.osd_ops import OpCode, OSDOp
from tests.unit.store import harness as h
from tests.unit.store.model import READS, Model, Object

CHUNK = 16 * 1024
OFFSET = st.one_of(st.integers(0, 40), st.integers(CHUNK - 20, CHUNK + 20), st.integers(0, 4 * CHUNK))
DATA = st.one_of(
    st.binary(max_size=12),
    st.builds(lambda byte, length: bytes((byte,)) * length, st.integers(0, 255), st.integers(0, 2 * CHUNK + 9)),
)
KEY = st.one_of(
    st.sampled_from([b"a", b"b", b"ab", b"\0", b"\xff"]),
    st.builds(lambda length, tail: b"k" * length + tail, st.integers(478, 482), st.sampled_from([b"", b"1", b"2"])),
)
NAME = st.sampled_from(["x", "y", "z"])
OPS = st.one_of(
    st.tuples(st.just("create"), st.booleans()),
    st.tuples(st.just("write"), OFFSET, DATA),
    st.tuples(st.just("write"), OFFSET, DATA),
    st.tuples(st.just("writefull"), DATA),
    st.tuples(st.just("append"), DATA),
    st.tuples(st.just("truncate"), OFFSET),
    st.tuples(st.just("zero"), OFFSET, OFFSET),
    st.tuples(st.just("delete")),
    st.tuples(st.just("setxattr"), NAME, st.binary(max_size=9)),
    st.tuples(st.just("rmxattr"), NAME),
    st.tuples(st.just("omap_set"), st.dictionaries(KEY, st.binary(max_size=9), max_size=4)),
    st.tuples(st.just("omap_rm"), st.lists(KEY, max_size=3)),
    st.tuples(st.just("omap_rm_range"), KEY, KEY),
    st.tuples(st.just("omap_clear")),
    st.tuples(st.just("omap_header"), st.binary(max_size=9)),
    st.tuples(st.just("cmpext"), OFFSET, st.binary(max_size=3)),
    st.tuples(st.just("read"), OFFSET, OFFSET),
    st.tuples(st.just("stat")),
    st.tuples(st.just("getxattr"), NAME),
    st.tuples(st.just("omap_vals")),
)
VECTOR = st.lists(st.one_of(OPS, OPS, OPS, OPS.map(lambda op: (*op, "failok"))), min_size=1, max_size=5)
OBJECT = st.sampled_from(["one", "two", "long" * 200])


def build(op: tuple) -> OSDOp:
    flags = 2 if op[-1] == "failok" else 0
    name, *args = op[:-1] if flags else op
    made: OSDOp
    match name:
        case "create":
            made = h.create(exclusive=args[0])
        case "write":
            made = h.write(args[1], args[0])
        case "cmpext":
            made = h.cmpext(*args)
        case "omap_vals":
            made = h.omap_get_vals()
        case "truncate" | "zero" | "writefull" | "append" | "delete" | "setxattr" | "rmxattr" | "getxattr" | "read":
            made = getattr(h, name)(*args)
        case "stat" | "omap_set" | "omap_rm" | "omap_clear" | "omap_header":
            made = getattr(h, name)(*args)
        case _:
            made = h.omap_rm_range(*args)
    made.flags |= flags
    return made


def output_of(op: tuple, made: OSDOp) -> object:
    if op[0] == "stat":
        return int.from_bytes(made.outdata[:8], "little")
    if op[0] == "omap_vals":
        decoder = Decoder(made.outdata)
        return decoder.map(decoder.blob, decoder.blob)
    return made.outdata if op[0] in ("read", "getxattr") else None


class Vectors(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.path = Path(tempfile.mkdtemp(prefix="cove-model-"))
        self.model = Model()
        self.runner.run(self.open())

    async def open(self) -> None:
        network = LoopbackNetwork()
        self.store = Store(self.path, map_size_bytes=1 << 30)
        await self.store.start(network)
        self.client = h.Client(network)

    async def close(self) -> None:
        await self.client.messenger.shutdown()
        await self.store.stop()

    def teardown(self) -> None:
        self.runner.run(self.close())
        self.runner.close()
        shutil.rmtree(self.path)

    @rule(work=st.lists(st.tuples(OBJECT, VECTOR), min_size=1, max_size=6))
    def vectors_in_flight_together(self, work):
        async def run():
            sent = [[build(op) for op in vector] for _, vector in work]
            futures = [self.client.submit(self.client.op(name, ops)) for (name, _), ops in zip(work, sent, strict=True)]
            return [await asyncio.wait_for(future, h.TIMEOUT_S) for future in futures]

        replies = self.runner.run(run())
        for (name, vector), reply in zip(work, replies, strict=True):
            result, outcomes = self.model.run(name, vector)
            assert (reply.result, [op.rval for op in reply.ops]) == (result, [code for code, _ in outcomes]), vector
            if result == 0 and all(op[0] in READS for op in vector):
                for op, made, (code, output) in zip(vector, reply.ops, outcomes, strict=True):
                    if code == 0:
                        assert output_of(op, made) == output

    @rule()
    def reopen(self):
        async def run():
            await self.close()
            await self.open()

        self.runner.run(run())

    @invariant()
    def contents_are_equal(self):
        async def contents(name):
            reply = await self.client.run(
                name, h.read(), h.stat(), OSDOp(OpCode.GETXATTRS), h.omap_get_vals(), OSDOp(OpCode.OMAP_GET_HEADER)
            )
            if reply.result < 0:
                return None
            data, size, xattrs, omap, header = (op.outdata for op in reply.ops)
            assert int.from_bytes(size[:8], "little") == len(data)
            x, o = Decoder(xattrs), Decoder(omap)
            return Object(data, x.map(x.str, x.blob), o.map(o.blob, o.blob), header)

        for name in ("one", "two", "long" * 200):
            assert self.runner.run(contents(name)) == self.model.objects.get(name)


TestVectors = Vectors.TestCase
TestVectors.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes here
)
