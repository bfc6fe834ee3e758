"""Calls of Identity v3 that are made to Keystone and to Cove, and must be answered alike.

`{name}` in paths and bodies is the id (of a token: the text) of what an earlier call kept under that name. Where Cove
answers otherwise on purpose, `ours` is its code, and `why` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `token` names a token that was kept."""

    topic: str
    method: str
    path: str
    body: Any = None
    token: str = "admin"
    keep: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ours: int | None = None
    why: str = ""
    compare: bool = True
    """Whether what a success shows is compared, too."""


def by_password(user: str, password: str, scope: Any = None, **more: Any) -> Any:
    """The body of a login."""
    who = {"name": user, "domain": {"id": "default"}, "password": password}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": who}} | more}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def by_token(token: str, scope: Any = None) -> Any:
    """The body of a login with a token."""
    auth: dict[str, Any] = {"identity": {"methods": ["token"], "token": {"id": token}}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def by_credential(scope: Any = None, **credential: Any) -> Any:
    """The body of a login with an application credential."""
    auth: dict[str, Any] = {"identity": {"methods": ["application_credential"], "application_credential": credential}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


TOKENS = "/v3/auth/tokens"
DEFAULT = {"id": "default"}
ADMIN_PROJECT = {"project": {"name": "admin", "domain": DEFAULT}}

LOGINS = (
    Call("", "POST", "/v3/projects", {"project": {"name": "lab"}}, keep="lab"),
    Call("", "POST", "/v3/users", {"user": {"name": "ann", "password": "pw"}}, keep="ann"),
    Call("", "PUT", "/v3/projects/{lab}/users/{ann}/roles/{role_member}"),
    Call("", "POST", TOKENS, by_password("ann", "pw", {"project": {"id": "{lab}"}}), "", keep="user"),
)
CLEAN = (
    Call("", "DELETE", "/v3/users/{ann}", compare=False),
    Call("", "DELETE", "/v3/projects/{lab}", compare=False),
)


def _login(body: Any, keep: str = "", **more: Any) -> Call:
    return Call("login", "POST", TOKENS, body, "", keep=keep, **more)


def _admin(scope: Any = None) -> Any:
    return by_password("admin", "{admin_password}", scope)


def _as_user(path: str) -> Call:
    return Call("user", "GET", path, token="user")


CALLS: tuple[Call, ...] = (
    # --- logging in
    _login(_admin({"system": {"all": True}}), keep="system"),
    _login(_admin({"domain": DEFAULT})),
    _login(_admin()),
    _login(_admin("unscoped")),
    _login(by_password("admin", "wrong")),
    _login(by_password("nobody", "wrong")),
    _login(_admin({"project": {"name": "nothing", "domain": DEFAULT}})),
    _login(_admin({"project": {"name": "admin"}})),
    _login({"auth": {"identity": {"methods": []}}}),
    _login({"auth": {"identity": {"methods": ["nothing"], "nothing": {}}}}),
    _login({"auth": {"identity": {"methods": ["password"]}}}),
    _login({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "x", "password": "y"}}}}}),
    _login({}),
    _login([]),
    _login(_admin({**ADMIN_PROJECT, "domain": DEFAULT})),
    _login(by_token("{admin}", ADMIN_PROJECT), keep="again"),
    _login(by_token("{admin}")),
    _login(by_token("nonsense")),
    Call("login", "POST", f"{TOKENS}?nocatalog", _admin(ADMIN_PROJECT), ""),
    Call("login", "GET", TOKENS),
    Call("login", "GET", TOKENS, headers={"X-Subject-Token": "nonsense"}),
    Call("login", "GET", f"{TOKENS}?nocatalog", headers={"X-Subject-Token": "{again}"}, compare=False),
    Call("login", "HEAD", TOKENS, headers={"X-Subject-Token": "{again}"}),
    Call("login", "DELETE", TOKENS, headers={"X-Subject-Token": "{again}"}),
    Call("login", "GET", TOKENS, headers={"X-Subject-Token": "{again}"}),
    Call("login", "GET", "/v3/auth/projects", token="again"),
    Call("login", "GET", TOKENS, token="user", headers={"X-Subject-Token": "{user}"}),
    Call("login", "GET", TOKENS, token="user", headers={"X-Subject-Token": "{admin}"}),
    Call("login", "DELETE", TOKENS, token="user", headers={"X-Subject-Token": "{admin}"}),
    # --- what a user sees
    _as_user("/v3/users"),
    _as_user("/v3/users/{ann}"),
    _as_user("/v3/users/nothing"),
    _as_user("/v3/users/{ann}/projects"),
    _as_user("/v3/users/{ann}/groups"),
    _as_user("/v3/projects"),
    _as_user("/v3/projects/{lab}"),
    _as_user("/v3/projects/nothing"),
    _as_user("/v3/domains"),
    _as_user("/v3/domains/default"),
    _as_user("/v3/domains/nothing"),
    _as_user("/v3/roles"),
    _as_user("/v3/roles/{role_admin}"),
    _as_user("/v3/role_assignments"),
    _as_user("/v3/role_assignments?user.id={ann}"),
    _as_user("/v3/services"),
    _as_user("/v3/endpoints"),
    _as_user("/v3/regions"),
    _as_user("/v3/groups"),
    _as_user("/v3/auth/projects"),
    _as_user("/v3/auth/domains"),
    _as_user("/v3/auth/system"),
    Call("user", "POST", "/v3/projects", {"project": {"name": "x"}}, "user"),
    Call("user", "PATCH", "/v3/users/{ann}", {"user": {"password": "zz"}}, "user"),
    Call("user", "GET", "/v3/users", token=""),
    Call("user", "POST", "/v3/users/{ann}/password", {"user": {"original_password": "no", "password": "n"}}, "user"),
    Call("user", "POST", "/v3/users/{ann}/password", {"user": {"original_password": "pw", "password": "n"}}, "user"),
    _as_user("/v3/auth/projects"),
    # --- projects
    Call("project", "POST", "/v3/projects", {"project": {"name": "p1"}}, keep="p1"),
    Call("project", "POST", "/v3/projects", {"project": {"name": "p1"}}),
    Call("project", "POST", "/v3/projects", {"project": {}}),
    Call("project", "POST", "/v3/projects", {}, ours=400, why="Keystone fails"),
    Call("project", "POST", "/v3/projects", {"project": {"name": "x", "enabled": "yes"}}, ours=400,
         why="Keystone fails"),
    Call("project", "POST", "/v3/projects", {"project": {"name": "x", "domain_id": "nothing"}}),
    Call("project", "POST", "/v3/projects", {"project": {"name": "p2", "colour": "blue", "tags": ["a"],
         "description": "d", "parent_id": "{p1}"}}, keep="p2"),
    Call("project", "GET", "/v3/projects/{p1}"),
    Call("project", "GET", "/v3/projects/nothing"),
    Call("project", "GET", "/v3/projects?name=p1&enabled=true"),
    Call("project", "GET", "/v3/projects?tags=a"),
    Call("project", "GET", "/v3/projects?not-tags=a&name=p2"),
    Call("project", "GET", "/v3/projects?parent_id={p1}"),
    Call("project", "PATCH", "/v3/projects/{p1}", {"project": {"name": "p3", "description": "e"}}, compare=False),
    Call("project", "PATCH", "/v3/projects/{p1}", {"project": {"domain_id": "nothing"}}),
    Call("project", "PATCH", "/v3/projects/{p1}", {"project": {"enabled": False}}),
    Call("project", "DELETE", "/v3/projects/{p1}"),
    Call("project", "DELETE", "/v3/projects/{p2}"),
    Call("project", "PATCH", "/v3/projects/{p1}", {"project": {"enabled": False}}, compare=False),
    Call("project", "DELETE", "/v3/projects/{p1}"),
    Call("project", "DELETE", "/v3/projects/{p1}"),
    # --- users
    Call("users", "POST", "/v3/users", {"user": {"name": "u1", "password": "pw", "email": "e@example.org",
         "default_project_id": "{lab}"}}, keep="u1"),
    Call("users", "POST", "/v3/users", {"user": {"name": "u1", "password": "pw"}}),
    Call("users", "POST", "/v3/users", {"user": {"password": "pw"}}),
    Call("users", "POST", "/v3/users", {"user": {"name": "u2", "domain_id": "nothing"}}),
    Call("users", "GET", "/v3/users/{u1}"),
    Call("users", "GET", "/v3/users/nothing"),
    Call("users", "GET", "/v3/users?name=u1"),
    Call("users", "PATCH", "/v3/users/{u1}", {"user": {"email": "f@example.org"}}, compare=False),
    Call("users", "POST", TOKENS, by_password("u1", "pw", {"project": {"id": "{lab}"}}), ""),
    Call("users", "POST", TOKENS, by_password("u1", "pw"), ""),
    Call("users", "PUT", "/v3/projects/{lab}/users/{u1}/roles/{role_reader}"),
    Call("users", "POST", TOKENS, by_password("u1", "pw"), "", keep="u1_token"),
    Call("users", "PATCH", "/v3/users/{u1}", {"user": {"enabled": False}}, compare=False),
    Call("users", "POST", TOKENS, by_password("u1", "pw"), ""),
    Call("users", "GET", "/v3/auth/projects", token="u1_token"),
    Call("users", "DELETE", "/v3/users/{u1}"),
    Call("users", "DELETE", "/v3/users/{u1}"),
    # --- roles and assignments
    Call("roles", "GET", "/v3/roles"),
    Call("roles", "GET", "/v3/role_inferences"),
    Call("roles", "POST", "/v3/roles", {"role": {"name": "cook"}}, keep="cook"),
    Call("roles", "POST", "/v3/roles", {"role": {"name": "cook"}}),
    Call("roles", "POST", "/v3/roles", {"role": {}}),
    Call("roles", "GET", "/v3/roles/{cook}"),
    Call("roles", "GET", "/v3/roles/nothing"),
    Call("roles", "PATCH", "/v3/roles/{cook}", {"role": {"name": "chef", "description": "d"}}),
    Call("roles", "DELETE", "/v3/roles/{role_admin}"),
    Call("roles", "PUT", "/v3/roles/{cook}/implies/{role_reader}"),
    Call("roles", "GET", "/v3/roles/{cook}/implies"),
    Call("roles", "HEAD", "/v3/roles/{cook}/implies/{role_reader}"),
    Call("roles", "GET", "/v3/roles/{cook}/implies/{role_member}"),
    Call("roles", "PUT", "/v3/projects/{lab}/users/{ann}/roles/{cook}"),
    Call("roles", "PUT", "/v3/projects/{lab}/users/{ann}/roles/{cook}"),
    Call("roles", "PUT", "/v3/projects/{lab}/users/{ann}/roles/nothing"),
    Call("roles", "PUT", "/v3/projects/{lab}/users/nothing/roles/{cook}"),
    Call("roles", "PUT", "/v3/projects/nothing/users/{ann}/roles/{cook}"),
    Call("roles", "HEAD", "/v3/projects/{lab}/users/{ann}/roles/{cook}"),
    Call("roles", "HEAD", "/v3/projects/{lab}/users/{ann}/roles/{role_admin}"),
    Call("roles", "GET", "/v3/projects/{lab}/users/{ann}/roles"),
    Call("roles", "PUT", "/v3/system/users/{ann}/roles/{role_reader}"),
    Call("roles", "GET", "/v3/system/users/{ann}/roles"),
    Call("roles", "PUT", "/v3/domains/default/users/{ann}/roles/{role_reader}"),
    Call("roles", "GET", "/v3/domains/default/users/{ann}/roles"),
    Call("roles", "GET", "/v3/role_assignments?user.id={ann}"),
    Call("roles", "GET", "/v3/role_assignments?user.id={ann}&include_names"),
    Call("roles", "GET", "/v3/role_assignments?user.id={ann}&scope.project.id={lab}&effective"),
    Call("roles", "GET", "/v3/role_assignments?scope.project.id={lab}&role.id={cook}"),
    Call("roles", "GET", "/v3/role_assignments?scope.project.id={lab}&scope.domain.id=default"),
    Call("roles", "DELETE", "/v3/system/users/{ann}/roles/{role_reader}"),
    Call("roles", "DELETE", "/v3/system/users/{ann}/roles/{role_reader}"),
    Call("roles", "DELETE", "/v3/domains/default/users/{ann}/roles/{role_reader}"),
    Call("roles", "DELETE", "/v3/projects/{lab}/users/{ann}/roles/{cook}"),
    Call("roles", "DELETE", "/v3/roles/{cook}/implies/{role_reader}"),
    Call("roles", "DELETE", "/v3/roles/{cook}"),
    # --- domains
    Call("domains", "GET", "/v3/domains"),
    Call("domains", "POST", "/v3/domains", {"domain": {"name": "d1"}}, keep="d1"),
    Call("domains", "POST", "/v3/domains", {"domain": {"name": "d1"}}),
    Call("domains", "POST", "/v3/domains", {"domain": {}}),
    Call("domains", "GET", "/v3/domains?name=d1"),
    Call("domains", "DELETE", "/v3/domains/{d1}"),
    Call("domains", "PATCH", "/v3/domains/{d1}", {"domain": {"enabled": False, "description": "d"}}),
    Call("domains", "DELETE", "/v3/domains/{d1}"),
    Call("domains", "GET", "/v3/domains/{d1}"),
    Call("domains", "DELETE", "/v3/domains/default"),
    # --- application credentials
    Call("credentials", "POST", "/v3/users/{ann}/application_credentials", {"application_credential": {"name": "a"}},
         "user", keep="cred", compare=False),
    Call("credentials", "POST", "/v3/users/{ann}/application_credentials", {"application_credential": {"name": "a"}},
         "user"),
    Call("credentials", "POST", "/v3/users/{ann}/application_credentials",
         {"application_credential": {"name": "b", "roles": [{"name": "admin"}]}}, "user"),
    Call("credentials", "POST", "/v3/users/{ann}/application_credentials",
         {"application_credential": {"name": "b", "expires_at": "2001-01-01T00:00:00"}}, "user"),
    Call("credentials", "POST", "/v3/users/{ann}/application_credentials",
         {"application_credential": {"name": "b", "expires_at": "soon"}}, "user"),
    Call("credentials", "POST", "/v3/users/{ann}/application_credentials", {"application_credential": {"name": "b"}}),
    Call("credentials", "GET", "/v3/users/{ann}/application_credentials", compare=False),
    Call("credentials", "GET", "/v3/users/{ann}/application_credentials/{cred}", token="user",
         compare=False),
    Call("credentials", "GET", "/v3/users/{ann}/application_credentials/nothing", token="user"),
    Call("credentials", "POST", TOKENS, by_credential(id="{cred}", secret="{cred_secret}"), "", keep="robot"),
    Call("credentials", "POST", TOKENS, by_credential(name="a", secret="{cred_secret}",
         user={"name": "ann", "domain": DEFAULT}), ""),
    Call("credentials", "POST", TOKENS, by_credential(id="{cred}", secret="wrong"), ""),
    Call("credentials", "POST", TOKENS, by_credential(id="nothing", secret="wrong"), "", ours=401,
         why="strangers are not told what exists"),
    Call("credentials", "POST", TOKENS, by_credential({"project": {"id": "{lab}"}}, id="{cred}",
         secret="{cred_secret}"), ""),
    Call("credentials", "POST", TOKENS, by_credential("unscoped", id="{cred}", secret="{cred_secret}"), ""),
    Call("credentials", "POST", "/v3/users/{ann}/application_credentials", {"application_credential": {"name": "c"}},
         "robot"),
    Call("credentials", "GET", "/v3/users/{ann}/application_credentials", token="robot",
         compare=False),
    Call("credentials", "POST", TOKENS, by_token("{robot}", {"project": {"id": "{lab}"}}), ""),
    Call("credentials", "DELETE", "/v3/users/{ann}/application_credentials/{cred}", token="user"),
    Call("credentials", "GET", "/v3/auth/projects", token="robot", ours=401, why="so that clients log in again"),
    # --- the catalogue
    Call("catalogue", "POST", "/v3/services", {"service": {"type": "t", "name": "n"}}, keep="service"),
    Call("catalogue", "GET", "/v3/services/{service}"),
    Call("catalogue", "GET", "/v3/services?type=t"),
    Call("catalogue", "PATCH", "/v3/services/{service}", {"service": {"name": "m"}}),
    Call("catalogue", "POST", "/v3/endpoints", {"endpoint": {"service_id": "{service}", "interface": "public",
         "url": "http://example.org/", "region_id": "RegionOne"}}, keep="endpoint"),
    Call("catalogue", "POST", "/v3/endpoints", {"endpoint": {"service_id": "nothing", "interface": "public",
         "url": "http://example.org/"}}),
    Call("catalogue", "POST", "/v3/endpoints", {"endpoint": {"service_id": "{service}", "interface": "secret",
         "url": "http://example.org/"}}),
    Call("catalogue", "POST", "/v3/endpoints", {"endpoint": {"service_id": "{service}", "interface": "public"}}),
    Call("catalogue", "GET", "/v3/endpoints/{endpoint}"),
    Call("catalogue", "GET", "/v3/endpoints?service_id={service}"),
    Call("catalogue", "PATCH", "/v3/endpoints/{endpoint}", {"endpoint": {"enabled": False}}),
    Call("catalogue", "DELETE", "/v3/endpoints/{endpoint}"),
    Call("catalogue", "DELETE", "/v3/services/{service}"),
    Call("catalogue", "POST", "/v3/regions", {"region": {"id": "west"}}, keep="west"),
    Call("catalogue", "POST", "/v3/regions", {"region": {"id": "west"}}),
    Call("catalogue", "PUT", "/v3/regions/east", {"region": {}}),
    Call("catalogue", "GET", "/v3/regions"),
    Call("catalogue", "PATCH", "/v3/regions/west", {"region": {"description": "d"}}),
    Call("catalogue", "DELETE", "/v3/regions/west"),
    Call("catalogue", "DELETE", "/v3/regions/east"),
    Call("catalogue", "DELETE", "/v3/regions/RegionOne"),
)  # fmt: skip
