"""clouds.yaml: what `openstack`, openstacksdk and Terraform need to know of this cloud, for its first two users."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cove.identity.bootstrap import REGION, read_password

CLOUDS = (("cove", "admin", "admin"), ("cove-demo", "demo", "demo"))
"""Name of the cloud, its user, and the user's project."""


def render(auth_url: str, state_dir: Path, clouds: Sequence[tuple[str, str, str]] = CLOUDS) -> str:
    """The file for those of the users whose password is known here. Raises PermissionError."""
    lines = ["clouds:"]
    for cloud, user, project in clouds:
        password = read_password(state_dir / f"{user}-password")
        if password is None:
            continue
        auth = {
            "auth_url": auth_url,
            "username": user,
            "password": password,
            "user_domain_name": "Default",
            "project_name": project,
            "project_domain_name": "Default",
        }
        lines += [f"  {cloud}:", "    auth:"]
        # JSON's texts are YAML's, too: nothing in them can be taken for something else.
        lines += [f"      {name}: {json.dumps(value)}" for name, value in auth.items()]
        lines += [f"    region_name: {REGION}", "    identity_api_version: 3"]
    if len(lines) == 1:
        lines = ["clouds: {}"]
    return "\n".join(lines) + "\n"
