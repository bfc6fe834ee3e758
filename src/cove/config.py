"""All settings, typed, in one place. Precedence: defaults < TOML file < environment (COVE_*) < command-line flags."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

CONFIG_FILE = Path(os.environ.get("COVE_CONFIG_FILE", "/etc/cove/cove.toml"))


class Settings(BaseSettings):
    """Every setting of Cove. Sizes are bytes and times are seconds, as the names say."""

    model_config = SettingsConfigDict(env_prefix="COVE_", extra="forbid", frozen=True)

    state_dir: Path = Field(
        default=Path("/var/lib/cove"), description="What survives a restart: database, store, instances."
    )
    run_dir: Path = Field(
        default=Path("/run/cove"), description="What lives as long as `cove up`: token, pid, sockets."
    )
    host: str = Field(default_factory=lambda: socket.gethostname().split(".")[0], description="Name of this host.")

    api_host: str = Field(default="127.0.0.1", description="Address that the API listens on, without TLS.")
    api_port: int = Field(
        default=9696, ge=0, le=65535, description="TCP port of the API (Networking v2.0's usual one)."
    )

    api_public_url: str = Field(
        default="",
        pattern=r"^(https?://[^/\s]+)?$",
        description="Address by which clients reach the API, for the catalogue. Empty: the one that they used.",
    )
    api_trusted_proxies: list[str] = Field(
        default=[], description="Addresses or networks of proxies whose X-Forwarded-For and -Proto are believed."
    )

    identity: str = Field(
        default="",
        description="Empty: the embedded Identity service. Else the URL of a Keystone, https://…/v3.",
    )
    identity_user: str = Field(default="cove", description="User of Keystone as whom Cove checks its clients' tokens.")
    identity_user_domain: str = Field(default="Default", description="That user's domain.")
    identity_project: str = Field(default="service", description="Project on which that user has the role service.")
    identity_project_domain: str = Field(default="Default", description="That project's domain.")
    identity_password_file: Path = Field(
        default=Path("/etc/cove/identity-password"), description="File (0600) with that user's password."
    )
    identity_ca_file: str = Field(default="", description="CA certificates for Keystone. Empty: the system's.")
    token_lifetime_s: int = Field(
        default=3600, ge=60, le=604800, description="How long a token of the embedded Identity service is valid."
    )

    database_url: str = Field(default="", description="Empty: SQLite in the state directory.")
    bus_url: str = Field(default="local://", description="Message bus between the API and the agents.")
    storage_url: str = Field(default="", description="Empty: the embedded store in the state directory.")

    policy_file: Path | None = Field(
        default=None, description="Rules that replace the policy's own, by name; TOML or JSON."
    )
    quotas: dict[str, int] = Field(
        default_factory=dict,
        description="How many of each resource a project may have, where that is not Neutron's default; -1: no limit.",
    )
    tenant_network_type: Literal["local", "vxlan", "vlan"] = Field(
        default="local", description="How a network is carried that does not say it itself."
    )
    physical_networks: list[str] = Field(
        default=[], description="Names that flat and vlan networks may use; empty allows any."
    )
    dhcp_agents_per_network: int = Field(default=1, ge=1, description="How many DHCP agents serve a network.")

    dns_domain: str = Field(default="openstacklocal", description="Domain of the names that the DHCP servers hand out.")
    dhcp_lease_duration_s: int = Field(default=86400, ge=120, description="Lease time that the DHCP servers hand out.")
    dhcp_agent_notification: bool = Field(default=True, description="Tell the DHCP agents of changes.")
    agent_report_interval_s: float = Field(default=30.0, gt=0, description="How often an agent reports that it lives.")
    agent_down_time_s: float = Field(default=75.0, gt=0, description="Silence after which an agent counts as down.")
    network_mtu: int = Field(
        default=1500, ge=576, le=9000, description="MTU of a network that does not ask for another."
    )

    objecter_inflight_ops: int = Field(default=1024, gt=0, description="Operations in flight for each storage client.")
    objecter_inflight_op_bytes: int = Field(
        default=100 << 20, gt=0, description="Bytes in flight for each storage client."
    )
    rados_osd_op_timeout_s: float = Field(default=60.0, ge=0, description="Time-out of a storage operation; 0 is none.")
    store_map_size_bytes: int = Field(
        default=1 << 40, gt=0, description="Largest size of the embedded store (address space)."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags beat the environment, which beats the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, CONFIG_FILE)

    def model_post_init(self, _context: Any) -> None:
        """Make the directories absolute; fill the URLs that follow from the state directory."""
        for name in ("state_dir", "run_dir"):
            object.__setattr__(self, name, getattr(self, name).absolute())
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.state_dir}/cove.sqlite")
        if not self.storage_url:
            object.__setattr__(self, "storage_url", f"store://{self.state_dir}/store")

    @property
    def token_file(self) -> Path:
        """The 0600 file with the API token of the running `cove up`."""
        return self.run_dir / "token"

    @property
    def api_url(self) -> str:
        """Base URL of the API."""
        return f"http://{self.api_host}:{self.api_port}"
