"""Names of links and namespaces are checked before they reach the kernel."""

from __future__ import annotations

import pytest

from cove.linux import links, namespaces


@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a b", "a\n", ".", "..", "é"])
async def test_bad_link_names(name):
    with pytest.raises(links.LinkError, match="link name"):
        await links.ensure_bridge(name)
    with pytest.raises(links.LinkError, match="link name"):
        await links.delete(name)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\n", ".hidden", "-x", "a" * 201])
def test_bad_namespace_names(name):
    with pytest.raises(namespaces.NamespaceError):
        namespaces.path_of(name)


def test_absent_namespace():
    assert namespaces.exists("cove-no-such-namespace") is False
    assert namespaces.remove("cove-no-such-namespace") is False
