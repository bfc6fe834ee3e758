"""A real Neutron on loopback to compare with: `VENV/bin/python neutron_server.py DIRECTORY PORT`.

The virtual environment VENV has `neutron` and `werkzeug`.

No agents, no bus, no identity service: SQLite, and whoever asks says who it is in headers (X-User-Id, X-Project-Id,
X-Roles). Two agents are entered as if they lived, so that there is something to list and to bind to. Prints "ready"
when it listens. Neutron is imported in functions only: Cove's own interpreter loads this file, but does not run it.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CONFIGURATION = """\
[DEFAULT]
auth_strategy = noauth
core_plugin = ml2
service_plugins =
transport_url = fake://
api_paste_config = {root}/api-paste.ini
state_path = {root}
log_file = {root}/neutron.log
dns_domain = cove.test.
notify_nova_on_port_status_changes = False
notify_nova_on_port_data_changes = False
global_physnet_mtu = 1500
[database]
connection = sqlite:///{root}/neutron.sqlite
[oslo_concurrency]
lock_path = {root}/locks
[oslo_messaging_notifications]
driver = noop
[oslo_policy]
enforce_scope = True
enforce_new_defaults = True
policy_file = {root}/policy.yaml
policy_dirs = policy.d
[ml2]
type_drivers = local,flat,vlan,vxlan
tenant_network_types = local
mechanism_drivers = openvswitch
extension_drivers = {drivers}
[ml2_type_flat]
flat_networks = physnet1
[ml2_type_vlan]
network_vlan_ranges = physnet1:100:199
[ml2_type_vxlan]
vni_ranges = 1:10000
"""

PIPELINES = """\
[composite:neutron]
use = egg:Paste#urlmap
/: versions
/v2.0: api
[composite:api]
use = call:neutron.auth:pipeline_factory
noauth = http_proxy_to_wsgi request_id catch_errors headers extensions app
[composite:versions]
use = call:neutron.auth:pipeline_factory
noauth = http_proxy_to_wsgi neutronversions
[filter:request_id]
paste.filter_factory = oslo_middleware:RequestId.factory
[filter:catch_errors]
paste.filter_factory = oslo_middleware:CatchErrors.factory
[filter:http_proxy_to_wsgi]
paste.filter_factory = oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGI.factory
[filter:headers]
paste.filter_factory = neutron.auth:NeutronKeystoneContext.factory
[filter:extensions]
paste.filter_factory = neutron.api.extensions:plugin_aware_extension_middleware_factory
[app:neutronversions]
paste.app_factory = neutron.pecan_wsgi.app:versions_factory
[app:app]
paste.app_factory = neutron.api.v2.router:APIRouter.factory
"""

DRIVERS = (
    "port_security",
    "subnet_dns_publish_fixed_ip",  # which brings those of DNS
    "uplink_status_propagation",
    "uplink_status_propagation_updatable",
    "tag_ports_during_bulk_creation",
)
FAR_AWAY = "2999-01-01 00:00:00"
AGENTS: tuple[dict[str, Any], ...] = (
    {
        "agent_type": "DHCP agent",
        "binary": "neutron-dhcp-agent",
        "topic": "dhcp_agent",
        "configurations": {"dhcp_driver": "dnsmasq", "dhcp_lease_duration": 86400},
    },
    {
        "agent_type": "Open vSwitch agent",
        "binary": "neutron-openvswitch-agent",
        "topic": "N/A",
        "configurations": {"bridge_mappings": {"physnet1": "br-ex"}, "tunnel_types": ["vxlan"]},
    },
)
AGENT_HOST = "host-a"


def leave_out_routers() -> None:
    """Let Neutron start without the plugins and the requirement that want routers, which Cove does not serve."""
    from neutron.plugins.common import constants
    from neutron_lib.api.definitions import dns

    for name in ("auto_allocate", "flavors"):
        constants.DEFAULT_SERVICE_PLUGINS.pop(name)
    dns.REQUIRED_EXTENSIONS = []


def retry_at_once() -> None:
    """Nobody else writes to this database: the growing pauses before retries, minutes in all, wait for nothing."""
    from oslo_db import api

    api.time = SimpleNamespace(sleep=lambda _seconds: None)


def make_tables(root: Path) -> None:
    """From the models: Neutron's migrations do not run on SQLite. And the agents, and the default groups' rules."""
    import sqlalchemy as sa
    from neutron.db.migration.models import head  # noqa: F401 -- declares all tables
    from neutron_lib.db import model_base

    metadata = model_base.BASEV2.metadata
    engine = sa.create_engine(f"sqlite:///{root}/neutron.sqlite")
    metadata.create_all(engine)
    with engine.begin() as connection:
        for agent in AGENTS:
            row = {"id": str(uuid.uuid4()), "host": AGENT_HOST, "availability_zone": "nova", "admin_state_up": True}
            names = ("created_at", "started_at", "heartbeat_timestamp")
            times: dict[str, Any] = dict.fromkeys(names, sa.literal_column(f"'{FAR_AWAY}'"))
            values = row | times | agent | {"configurations": json.dumps(agent["configurations"]), "load": 0}
            connection.execute(metadata.tables["agents"].insert().values(**values))
    engine.dispose()


def default_rules(root: Path) -> None:
    """The four rules that Neutron's migration gives to new groups: both ways out, and in from the same group."""
    import sqlalchemy as sa
    from neutron_lib.db import model_base

    tables = model_base.BASEV2.metadata.tables
    engine = sa.create_engine(f"sqlite:///{root}/neutron.sqlite")
    with engine.begin() as connection:
        for number, (direction, ethertype) in enumerate(
            (direction, ethertype) for direction in ("ingress", "egress") for ethertype in ("IPv4", "IPv6")
        ):
            connection.execute(
                tables["standardattributes"]
                .insert()
                .values(
                    id=1_000_000 + number,
                    resource_type="securitygroupdefaultrules",
                    revision_number=0,
                    description=f"Legacy default SG rule for {direction} traffic",
                )
            )
            connection.execute(
                tables["securitygroupdefaultrules"]
                .insert()
                .values(
                    id=str(uuid.uuid4()),
                    standard_attr_id=1_000_000 + number,
                    direction=direction,
                    ethertype=ethertype,
                    remote_group_id="PARENT" if direction == "ingress" else None,
                    used_in_default_sg=True,
                    used_in_non_default_sg=direction == "egress",
                )
            )
    engine.dispose()


def main() -> None:
    """Make the directory's files, and serve until killed."""
    root, port = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    (root / "policy.d").mkdir(parents=True)
    (root / "policy.yaml").write_text("{}\n")
    (root / "neutron.conf").write_text(CONFIGURATION.format(root=root, drivers=",".join(DRIVERS)))
    (root / "api-paste.ini").write_text(PIPELINES)
    leave_out_routers()
    retry_at_once()
    make_tables(root)
    default_rules(root)
    sys.argv = ["neutron-api", "--config-file", str(root / "neutron.conf")]

    from neutron import server
    from neutron.server import api
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):  # type: ignore[misc]
        protocol_version = "HTTP/1.1"

        def log(self, type: str, message: str, *args: Any) -> None:
            """Say nothing: stdout is for `ready`."""

    app = server.boot_server(api.api_server, prog="neutron-api")
    listening = make_server("127.0.0.1", port, app, threaded=True, request_handler=Handler)
    print("ready", flush=True)
    listening.serve_forever()


if __name__ == "__main__":
    main()
