"""Users and tokens with OpenStack's own clients: the command line, keystoneauth, openstacksdk; on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .cli import OpenStackCli
from .cloud import Cloud
from .commands import Topic
from .identity_topics import TOPICS
from .test_command_line import run

pytestmark = pytest.mark.usefixtures("peers")


@pytest.fixture(scope="module")
def cli(engine_cloud: Cloud, peers: Path) -> Iterator[OpenStackCli]:
    with OpenStackCli(engine_cloud) as running:
        yield running


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name.replace(" ", "-"))
def test_commands(cli: OpenStackCli, engine_cloud: Cloud, topic: Topic) -> None:
    kept: dict[str, Any] = dict(engine_cloud.projects)
    kept |= {role["Name"]: role["ID"] for role in cli.json("admin", "role list") if role["Name"] == "reader"}
    for command in topic.commands:
        run(cli, command, kept)


def session(cloud: Cloud, plugin: str = "password", **options: Any) -> Any:
    """A session of keystoneauth's; `options` are added to those of a user and password."""
    from keystoneauth1 import loading
    from keystoneauth1.session import Session

    if plugin == "password":
        known = {
            "username": "alice",
            "password": cloud.passwords["alice"],
            "user_domain_name": "Default",
            "project_name": "alice",
            "project_domain_name": "Default",
        }
        options = {name: value for name, value in (known | options).items() if value is not None}
    auth = loading.get_plugin_loader(plugin).load_from_options(**{"auth_url": cloud.auth_url, **options})
    return Session(auth=auth)


@pytest.mark.parametrize("path", ["/v3", "/v3/", "/identity", "/identity/", "/identity/v3", "/identity/v3/"])
def test_forms_of_the_auth_url(engine_cloud: Cloud, path: str) -> None:
    one = session(engine_cloud, auth_url=engine_cloud.url + path)
    assert one.get_project_id() == engine_cloud.projects["alice"]
    assert one.get_endpoint(service_type="network") == engine_cloud.url
    identity = one.get_endpoint_data(service_type="identity")
    assert (identity.api_version, identity.url) == ((3, 14), f"{engine_cloud.url}/identity/v3/")
    network = one.get_endpoint_data(service_type="network")
    assert (network.api_version, network.url) == ((2, 0), f"{engine_cloud.url}/v2.0/")
    found = one.get("/networks", endpoint_filter={"service_type": "network", "min_version": "2"})
    assert found.status_code == 200


NO_PROJECT: dict[str, Any] = {"project_name": None, "project_domain_name": None}
SCOPES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"admin", "manager", "member", "reader"}),
    ({**NO_PROJECT, "system_scope": "all"}, {"admin", "manager", "member", "reader"}),
    (NO_PROJECT, set()),
]


@pytest.mark.parametrize(("options", "roles"), SCOPES, ids=["project", "system", "unscoped"])
def test_scopes(engine_cloud: Cloud, options: dict[str, Any], roles: set[str]) -> None:
    admin = {"username": "admin", "password": engine_cloud.passwords["admin"], "project_name": "admin"}
    one = session(engine_cloud, **{**admin, **options})
    access = one.auth.get_access(one)
    assert set(access.role_names) == roles
    assert access.scoped == bool(roles)
    assert access.will_expire_soon(3601)
    assert not access.will_expire_soon(3500)


def test_a_scope_without_a_role(engine_cloud: Cloud) -> None:
    from keystoneauth1 import exceptions

    for options in ({"project_name": "bob"}, {**NO_PROJECT, "domain_name": "Default"}, {"password": "wrong"}):
        with pytest.raises(exceptions.Unauthorized):
            session(engine_cloud, **options).get_token()


def test_rescoping_and_revocation(engine_cloud: Cloud) -> None:
    from keystoneauth1 import exceptions

    first = session(engine_cloud, **NO_PROJECT)
    token = first.get_token()
    second = session(engine_cloud, "v3token", token=token, project_name="alice", project_domain_name="Default")
    assert second.get_project_id() == engine_cloud.projects["alice"]
    identity = {"service_type": "identity"}
    headers = {"X-Subject-Token": token}
    assert second.get("/auth/tokens", endpoint_filter=identity, headers=headers).status_code == 200
    assert second.delete("/auth/tokens", endpoint_filter=identity, headers=headers).status_code == 204
    with pytest.raises(exceptions.NotFound):
        second.get("/auth/tokens", endpoint_filter=identity, headers=headers)


def test_a_client_logs_in_again_by_itself(engine_cloud: Cloud) -> None:
    """keystoneauth does when a token that it holds is refused with 401."""
    one = session(engine_cloud)
    before = one.get_token()
    one.delete("/auth/tokens", endpoint_filter={"service_type": "identity"}, headers={"X-Subject-Token": before})
    network = {"service_type": "network", "min_version": "2"}
    assert one.get("/networks", endpoint_filter=network).status_code == 200
    assert one.get_token() != before


@pytest.mark.parametrize("by", ["id", "name"])
def test_application_credentials(engine_cloud: Cloud, by: str) -> None:
    owner = session(engine_cloud)
    identity = {"service_type": "identity"}
    path = f"/users/{owner.get_user_id()}/application_credentials"
    body = {"application_credential": {"name": f"by-{by}", "roles": [{"name": "reader"}]}}
    made = owner.post(path, json=body, endpoint_filter=identity).json()["application_credential"]
    who = (
        {"application_credential_id": made["id"]}
        if by == "id"
        else {"application_credential_name": made["name"], "username": "alice", "user_domain_name": "Default"}
    )
    robot = session(engine_cloud, "v3applicationcredential", application_credential_secret=made["secret"], **who)
    assert robot.auth.get_access(robot).role_names == ["reader"]
    network = {"service_type": "network", "min_version": "2"}
    assert robot.get("/networks", endpoint_filter=network).status_code == 200
    refused = robot.post("/networks", json={"network": {}}, endpoint_filter=network, raise_exc=False)
    assert refused.status_code == 403


def test_too_many_failures_are_told_as_such(engine_cloud: Cloud) -> None:
    from keystoneauth1 import exceptions

    for _ in range(6):
        with pytest.raises(exceptions.Unauthorized):
            session(engine_cloud, username="nobody", password="wrong").get_token()
    with pytest.raises(exceptions.HttpError) as refused:
        session(engine_cloud, username="nobody", password="wrong").get_token()
    assert refused.value.http_status == 429
    assert refused.value.retry_after > 0
    assert session(engine_cloud).get_token(), "others come in as before"


def test_openstacksdk(engine_cloud: Cloud) -> None:
    import openstack

    config = openstack.config.OpenStackConfig(config_files=[str(engine_cloud.clouds_file)])
    cloud = openstack.connection.Connection(config=config.get_one("admin"))
    project = cloud.identity.create_project(name="by-sdk", description="d", tags=["a"])
    user = cloud.identity.create_user(name="by-sdk", password="pw", default_project_id=project.id)
    role = cloud.identity.find_role("member")
    cloud.identity.assign_project_role_to_user(project, user, role)
    found = list(cloud.identity.role_assignments(user_id=user.id, include_names=True))
    assert [(one.role["name"], one.scope["project"]["name"]) for one in found] == [("member", "by-sdk")]
    as_user = cloud.connect_as(username="by-sdk", password="pw", project_id=project.id)
    network = as_user.network.create_network(name="mine")
    assert network.project_id == project.id
    as_user.network.delete_network(network)
    cloud.identity.unassign_project_role_from_user(project, user, role)
    cloud.identity.delete_user(user)
    cloud.identity.delete_project(project)
    assert cloud.identity.find_project("by-sdk") is None
    assert {one.name for one in cloud.identity.domains()} == {"Default"}


def test_the_clouds_yaml_that_cove_writes(engine_cloud: Cloud, tmp_path: Path) -> None:
    import openstack
    from cove.identity.clouds import render

    path = tmp_path / "clouds.yaml"
    path.write_text(render(engine_cloud.auth_url, engine_cloud.directory / "state"))
    for name, project in (("cove", "admin"), ("cove-demo", "demo")):
        config = openstack.config.OpenStackConfig(config_files=[str(path)])
        cloud = openstack.connection.Connection(config=config.get_one(name))
        assert cloud.current_project.name == project
        assert isinstance(list(cloud.network.networks()), list)


def test_changing_ones_password_ends_the_session(engine_cloud: Cloud) -> None:
    admin = session(engine_cloud, username="admin", password=engine_cloud.passwords["admin"], project_name="admin")
    identity = {"service_type": "identity"}
    body = {"user": {"name": "fickle", "password": "first"}}
    user = admin.post("/users", json=body, endpoint_filter=identity).json()["user"]
    mine = session(engine_cloud, username="fickle", password="first", **NO_PROJECT)
    token = mine.get_token()
    change = {"user": {"original_password": "first", "password": "second"}}
    url = f"{engine_cloud.auth_url}/users/{user['id']}/password"
    assert mine.post(url, json=change).status_code == 204
    shown = admin.get("/auth/tokens", endpoint_filter=identity, headers={"X-Subject-Token": token}, raise_exc=False)
    assert shown.status_code == 404
    assert session(engine_cloud, username="fickle", password="second", **NO_PROJECT).get_token()


def test_no_secret_is_in_the_log(engine_cloud: Cloud) -> None:
    """Last: whatever the tests before have sent."""
    one = session(engine_cloud)
    token = one.get_token()
    one.get("/networks", endpoint_filter={"service_type": "network", "min_version": "2"})
    log = (engine_cloud.directory / "server.log").read_text()
    assert "identity.login" in log
    for secret in (token, *engine_cloud.passwords.values(), "s3cret"):
        assert secret not in log
