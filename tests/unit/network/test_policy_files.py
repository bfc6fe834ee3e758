"""Policy files of operators: what they replace, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.network.context import RequestContext
from cove.network.policy import Policy, PolicyError
from cove.network.policy.files import default_texts

MEMBER = RequestContext(project_id="p1", roles=frozenset({"member", "reader"}), is_admin=False)
OPERATOR = RequestContext(project_id="p2", roles=frozenset({"netops"}), is_admin=False)
ATTRIBUTES = {"network": ("name", "mtu"), "port": ("fixed_ips", "name")}


def load(tmp_path: Path, text: str, name: str = "policy.toml", **more: object) -> Policy:
    file = tmp_path / name
    file.write_text(text)
    return Policy.load(file, **more)  # type: ignore[arg-type]


def test_only_what_the_file_names_is_replaced(tmp_path: Path) -> None:
    policy = load(tmp_path, '"create_network:shared" = "rule:project_member"\n')
    policy.check_create(MEMBER, "network", {"project_id": "p1"}, {"shared": True})
    assert len(policy.rules) == len(default_texts())
    assert not policy.allows("create_network", OPERATOR, {"project_id": "p1"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'netops = "role:netops"\ndelete_network = "rule:admin_only or rule:netops"'),
        ("a.toml", '[mine]\nnetops = "role:netops"\n[theirs]\ndelete_network = "rule:admin_only or rule:netops"'),
        ("a.json", '{"netops": "role:netops", "delete_network": "rule:admin_only or rule:netops"}'),
    ],
)
def test_forms_of_a_file(tmp_path: Path, name: str, text: str) -> None:
    policy = load(tmp_path, text, name)
    assert policy.allows("delete_network", OPERATOR, {"project_id": "p1"})
    assert not policy.allows("delete_network", MEMBER, {"project_id": "p1"})


def test_who_is_an_admin_can_be_changed(tmp_path: Path) -> None:
    policy = load(tmp_path, 'context_is_admin = "role:admin or role:netops"')
    assert policy.is_admin(OPERATOR)
    assert policy.allows("delete_network", OPERATOR, {"project_id": "p1"})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('create_netwrok = "!"', ["'create_netwrok'", "did you mean 'create_network'?"]),
        ('xyzzy = "!"', ["'xyzzy'", "docs/policy.md"]),
        ('"get_network:nmae" = "!"', ["'get_network:nmae'", "nothing asks for"]),
        ('"get_netwrok:name" = "!"', ["'get_netwrok:name'", "nothing asks for"]),
        ('"get_router:name" = "!"', ["'get_router:name'"]),
        ('get_port = "rule:admin_onyl"', ["'get_port'", "no rule 'admin_onyl'", "did you mean 'rule:admin_only'?"]),
        ('get_port = "role:a or"', ["'get_port'", "role:a or", "ends where a check should follow"]),
        ('get_port = "rol:a"', ["'get_port'", "unknown kind"]),
        ("get_port = 5", ["'get_port'", "a rule is a text, not 5"]),
        ('get_port = "rule:get_port"', ["'get_port'", "depends on itself: get_port → get_port"]),
        (
            'a = "rule:b"\nb = "not rule:c"\nc = "rule:a"\nget_port = "rule:a"',
            ["depends on itself", "a → b → c → a"],
        ),
        ("get_port = ", ["no valid TOML"]),
        ('get_port = "!"\nget_port = "@"', ["no valid TOML"]),
        ('[a]\nget_port = "!"\n[b]\nget_port = "@"', ["'get_port' twice"]),
    ],
)
def test_refusals_name_file_rule_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, text, attributes=ATTRIBUTES)
    message = str(caught.value)
    assert str(tmp_path / "policy.toml") in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("text", ["[]", '{"get_port": "!", "get_port": "@"}', "{", '{"get_port": null}'])
def test_json_that_is_no_policy(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError, match=r"policy\.json"):
        load(tmp_path, text, "policy.json")


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read"):
        Policy.load(tmp_path / "missing.toml")
    with pytest.raises(PolicyError, match="at most"):
        load(tmp_path, "#" * ((1 << 20) + 1))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="no valid TOML"):
        Policy.load(tmp_path / "binary.toml")


def test_rules_for_attributes_that_there_are(tmp_path: Path) -> None:
    policy = load(
        tmp_path,
        '"update_network:mtu" = "!"\n"update_port:fixed_ips:position" = "!"\n',
        attributes=ATTRIBUTES,
    )
    assert {"update_network:mtu", "update_port:fixed_ips:position"} <= policy.rules.keys()
