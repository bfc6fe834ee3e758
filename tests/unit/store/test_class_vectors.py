# mypy: allow-untyped-calls
"""Class calls with the answers of a real OSD: inputs, errnos and outputs must be equal for the methods that we have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cove.store.classes import find_method
from cove.wire import cls_lock, cls_rbd
from cove.wire.encoding import Decoder
from cove.wire.object_map import ObjectMap
from cove.wire.osd_ops import OSDOp, call_op
from tests.unit.store.harness import create, omap_get_vals, running_store, writefull
from tests.unit.store.harness import read as read_op

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "rbd"
pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="the vectors of a real OSD are not here")

# The store has no snapshots, clones and groups yet: these calls tell of what calls before them have made of a header.
NOT_YET = {
    ("get_snapcontext", 54),
    ("op_features_get", 70),
    ("op_features_get", 76),
    ("parent_overlap_get", 106),
    ("parent_overlap_get", 109),
}


async def test_calls_are_answered_as_by_a_real_osd(tmp_path):
    calls = json.loads((VECTORS / "calls.json").read_text())
    compared = 0
    differences: list[tuple] = []
    async with running_store(tmp_path / "store") as (_, client):
        for at, call in enumerate(calls):
            oid, cls, name, note = call["object"], call["cls"], call["method"], call["note"]
            known = find_method(cls, name) is not None
            if not known and cls in ("rbd", "lock") and call["errno"] != "EOPNOTSUPP":
                continue
            if not known and cls not in ("rbd", "lock", "nocls"):
                continue
            if note == "empty object":
                await client.run(oid, writefull(b""))
            data = bytes.fromhex(call["input"])
            if name == "object_map_save":
                data = (await client.run("t.om", read_op())).ops[0].outdata
            if "expired" in note:
                continue  # pauses: see test_lock.py
            code, output = await client.call(oid, cls, name, data)
            if (name, at) in NOT_YET:
                continue
            compared += 1
            if code != min(call["rc"], 0):
                differences.append((at, cls, name, note, call["rc"], code))
            elif code == 0 and output.hex() != call["output"] and not _varies(cls, name):
                differences.append((at, cls, name, note, call["output"], output.hex()))
    assert differences == []
    assert compared > 80


def _varies(cls: str, name: str) -> bool:
    """Outputs with addresses, client numbers or times."""
    return (cls, name) in {("lock", "get_info"), ("rbd", "get_create_timestamp")}


def _control_objects():
    return json.loads((VECTORS / "objects.json").read_text()) if VECTORS.is_dir() else []


def test_stored_object_maps_come_back():
    seen = 0
    for item in _control_objects():
        if item["object"].startswith("rbd_object_map.") and item["data"]:
            body = bytes.fromhex(item["data"])
            assert ObjectMap.from_bytes(body).to_body() == body
            seen += 1
    assert seen > 5


def test_stored_values_come_back():
    codecs: dict[str, Any] = {"parent": cls_rbd.Parent.codec(), "rbd_group_ref": cls_rbd.GroupSpec.codec()}
    seen = 0
    for item in _control_objects():
        for entry in item["omap"]:
            key, value = entry["key"], bytes.fromhex(entry["value"])
            codec = codecs.get(key)
            if item["object"] == "rbd_trash":
                codec = cls_rbd.TrashImage.codec()
            if codec is not None:
                assert codec.pack(codec.unpack(value)) == value
                seen += 1
    assert seen > 3


async def test_a_created_header_has_the_keys_of_a_real_one(tmp_path):
    headers = [item for item in _control_objects() if item["object"].startswith("rbd_header.")]
    plain = next(h for h in headers if len(h["omap"]) == 8)
    real = {entry["key"]: entry["value"] for entry in plain["omap"]}
    prefix = cls_rbd.GET_OBJECT_PREFIX.output.unpack(bytes.fromhex(real["object_prefix"]))
    request = cls_rbd.CreateImage(
        int.from_bytes(bytes.fromhex(real["size"]), "little"),
        bytes.fromhex(real["order"])[0],
        int.from_bytes(bytes.fromhex(real["features"]), "little"),
        prefix,
    )
    async with running_store(tmp_path / "store") as (_, client):
        code, _ = await client.call(plain["object"], "rbd", "create", request.to_bytes())
        assert code == 0
        reply = await client.run(plain["object"], omap_get_vals())
        decoder = Decoder(reply.ops[0].outdata)
        ours = {key.decode(): value.hex() for key, value in decoder.map(decoder.blob, decoder.blob).items()}
    times = {"create_timestamp", "access_timestamp", "modify_timestamp"}
    assert ours.keys() == real.keys()
    assert {k: v for k, v in ours.items() if k not in times | {"snap_seq"}} == {
        k: v for k, v in real.items() if k not in times | {"snap_seq"}
    }


async def test_calls_of_one_vector_do_not_see_each_others_changes(tmp_path):
    """What a real OSD has answered to compound operations on an absent object."""

    def called(method, value):
        return call_op(method.cls, method.name, method.input.pack(value))

    lock = cls_lock.LockRequest("a", cls_lock.LockType.EXCLUSIVE, "c", "")
    held = cls_lock.AssertRequest("a", cls_lock.LockType.EXCLUSIVE, "c", "")
    vectors: list[list[OSDOp]] = [
        [called(cls_rbd.DIR_ADD_IMAGE, cls_rbd.DirectoryImage("a", image_id)) for image_id in ("i1", "i2")],
        [called(cls_lock.LOCK, lock), called(cls_lock.ASSERT_LOCKED, held)],
        [
            called(cls_rbd.OBJECT_MAP_RESIZE, cls_rbd.ObjectMapResize(10, 1)),
            called(cls_rbd.OBJECT_MAP_UPDATE, cls_rbd.ObjectMapUpdate(0, 5, 0, None)),
        ],
        [create(exclusive=True), called(cls_rbd.SET_ID, "ID")],
    ]
    wanted = [item["rc"] for item in json.loads((VECTORS / "compound.json").read_text())]
    async with running_store(tmp_path / "store") as (_, client):
        got = [(await client.run(f"o{at}", *ops)).result for at, ops in enumerate(vectors)]
        assert got == wanted
        keys = Decoder((await client.run("o0", omap_get_vals())).ops[0].outdata)
        assert sorted(keys.map(keys.blob, keys.blob)) == [b"id_i1", b"id_i2", b"name_a"]
        assert [(await client.run(f"o{at}", read_op())).result for at in (1, 2)] == [-2, -2]
        assert (await client.run("o3", read_op())).ops[0].outdata == b"\2\0\0\0ID"
