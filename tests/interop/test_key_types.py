"""Keys of both types in one cluster, as one has them while it moves from `aes` to `aes256k` (Ceph 20.2 and later)."""

from __future__ import annotations

import pytest

from cove.rados import PermissionDenied, Rados

from .ceph_cluster import CephCluster, keyring, new_key, preferred_key_type
from .conftest import POOL


@pytest.mark.parametrize("ciphers", [("aes", "aes"), ("aes", "aes256k"), ("aes256k", "aes")], ids="-".join)
async def test_users_and_services_with_different_keys(ceph_is_installed: None, ciphers: tuple[str, str]) -> None:
    if preferred_key_type() == "aes":
        pytest.skip("this Ceph has keys of one type only")
    with CephCluster(ciphers=ciphers) as cluster:
        cluster.add_user("client.two", {"mon": "allow r", "osd": "allow rwx", "mgr": "allow r"})
        for name in ("client.admin", "client.two"):
            async with Rados(cluster.conf_path, name=name) as client, client.open_ioctx(POOL) as ioctx:
                await ioctx.write_full("by", name.encode())
                assert await ioctx.read("by") == name.encode()
                assert (await client.mgr_command({"prefix": "pg stat"})).check()


async def test_a_key_of_a_type_that_is_not_allowed(one_osd: CephCluster) -> None:
    other = "aes" if preferred_key_type() == "aes256k" else "aes256k"
    path = one_osd.directory / "other.keyring"
    path.write_text(keyring("client.admin", new_key(other)))
    with pytest.raises(PermissionDenied):
        await Rados(one_osd.conf_path, keyring=path).connect(10)
