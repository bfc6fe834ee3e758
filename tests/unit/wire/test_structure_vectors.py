# mypy: allow-untyped-calls
"""Structures that Ceph 16.2, 18.2, 19.2 and 20.3 have encoded: decoded and encoded again they are the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cove.wire import cls_lock, cls_rbd, hobject, listing, names, snapsets, watches
from cove.wire.address import decode_addr, decode_addrvec, encode_addr, encode_addrvec
from cove.wire.encoding import Encoder
from cove.wire.errors import PeerError
from cove.wire.structure import UTIME, Codec

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "ceph"
VERSIONS = sorted(path.name for path in VECTORS.iterdir()) if VECTORS.is_dir() else []
with_vectors = pytest.mark.skipif(not VERSIONS, reason="the vectors of Ceph's releases are not here")


def _encode_page(encoder: Encoder, page: listing.ListPage) -> None:
    encoder.raw(listing.pack_page(page))


COVERED: dict[str, Codec[Any]] = {
    "hobject_t": hobject.HOBJECT,
    "object_locator_t": Codec(names.encode_locator, names.decode_locator),
    "osd_reqid_t": Codec(names.encode_reqid, names.decode_reqid),
    "request_redirect_t": Codec(names.encode_redirect, names.decode_redirect),
    "pg_t": Codec(names.encode_pg, names.decode_pg),
    "spg_t": Codec(lambda encoder, value: names.encode_spg(encoder, *value), names.decode_spg),
    "uuid_d": names.FSID,
    "utime_t": UTIME,
    "entity_addr_t": Codec(encode_addr, decode_addr),
    "entity_addrvec_t": Codec(encode_addrvec, decode_addrvec),
    "SnapContext": names.SNAP_CONTEXT,
    "SnapSet": snapsets.SnapSet.codec(),
    "obj_list_snap_response_t": snapsets.SnapList.codec(),
    "obj_list_watch_response_t": watches.WatchList.codec(),
    "watch_info_t": watches.WatchInfo.codec(),
    "pg_nls_response_t": Codec(_encode_page, lambda decoder: listing.unpack_page(decoder.rest())),
    "cls_lock_lock_op": cls_lock.LockRequest.codec(),
    "cls_lock_unlock_op": cls_lock.UnlockRequest.codec(),
    "cls_lock_break_op": cls_lock.BreakRequest.codec(),
    "cls_lock_get_info_op": cls_lock.InfoRequest.codec(),
    "cls_lock_get_info_reply": cls_lock.LockInfo.codec(),
    "cls_lock_list_locks_reply": cls_lock.LockNames.codec(),
    "cls_lock_assert_op": cls_lock.AssertRequest.codec(),
    "cls_lock_set_cookie_op": cls_lock.SetCookieRequest.codec(),
    "locker_id_t": cls_lock.LockerId.codec(),
    "locker_info_t": cls_lock.LockerInfo.codec(),
    "rados.cls.lock.lock_info_t": cls_lock.LockInfo.codec(),
    "rados.cls.lock.locker_id_t": cls_lock.LockerId.codec(),
    "rados.cls.lock.locker_info_t": cls_lock.LockerInfo.codec(),
    "cls_rbd_parent": cls_rbd.Parent.codec(),
    "cls.rbd.ParentImageSpec": cls_rbd.ParentImageSpec.codec(),
    "cls.rbd.GroupSpec": cls_rbd.GroupSpec.codec(),
    "cls.rbd.MirrorImage": cls_rbd.MirrorImage.codec(),
}

ELSEWHERE = {
    # tested beside the modules that they belong to
    "CephXAuthenticate", "CephXAuthorize", "CephXAuthorizeChallenge", "CephXAuthorizeReply", "CephXChallengeBlob",
    "CephXRequestHeader", "CephXResponseHeader", "CephXServerChallenge", "CephXServiceTicket",
    "CephXServiceTicketInfo", "CephXServiceTicketRequest", "CephXTicketBlob", "EntityName",
    "CrushWrapper", "MonMap", "OSDMap", "OSDMap.Incremental", "pg_pool_t", "pool_snap_info_t",
}  # fmt: skip
NOT_YET = {
    # of the file system and of the monitors' own records
    "snaplink_t", "string_snap_t",
    # structures of RBD's snapshots, clones, groups, migration and mirroring
    "cls_rbd_snap", "cls.rbd.ChildImageSpec", "cls.rbd.GroupImageSpec", "cls.rbd.GroupImageStatus",
    "cls.rbd.GroupSnapshot", "cls.rbd.ImageSnapshotSpec", "cls.rbd.MigrationSpec", "cls.rbd.MirrorImageMap",
    "cls.rbd.MirrorImageSiteStatus", "cls.rbd.MirrorImageSiteStatusOnDisk", "cls.rbd.MirrorImageStatus",
    "cls.rbd.MirrorPeer", "cls.rbd.SnapshotInfo", "cls.rbd.SnapshotNamespace",
}  # fmt: skip


@with_vectors
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(COVERED))
def test_the_same_bytes_come_back(name, version):
    codec, files = COVERED[name], sorted((VECTORS / version / name).iterdir())
    assert files
    for path in files:
        data = path.read_bytes()
        assert codec.pack(codec.unpack(data)) == data, path


@with_vectors
@pytest.mark.parametrize("name", sorted(COVERED))
def test_what_is_cut_short_is_refused(name):
    """At every byte, up to the place from where on the rest may be missing."""
    codec, paths = COVERED[name], sorted((VECTORS / VERSIONS[0] / name).iterdir())
    data = min((path.read_bytes() for path in paths), key=len)
    for length in range(len(data)):
        with pytest.raises(PeerError):
            codec.unpack(data[:length])


@with_vectors
def test_every_folder_is_accounted_for():
    folders = {path.name for version in VERSIONS for path in (VECTORS / version).iterdir()}
    assert folders == COVERED.keys() | ELSEWHERE | NOT_YET
    assert not COVERED.keys() & (ELSEWHERE | NOT_YET)
