"""The errors of the Networking API: each class is one `type` of the wire form, with its HTTP code.

`{"NeutronError": {"type": <class name>, "message": ..., "detail": ""}}`. The names and codes are Networking v2.0's
(neutron-lib's exceptions and its fault map), because clients decide by them; the sentences are ours.

One module a theme; all are names of this package, which is how they are used: `errors.PortNotFound`.
"""

from __future__ import annotations

from cove.network.errors.agents import *  # noqa: F403
from cove.network.errors.base import *  # noqa: F403
from cove.network.errors.lookup import *  # noqa: F403
from cove.network.errors.networks import *  # noqa: F403
from cove.network.errors.ports import *  # noqa: F403
from cove.network.errors.projects import *  # noqa: F403
from cove.network.errors.security_groups import *  # noqa: F403
from cove.network.errors.subnetpools import *  # noqa: F403
from cove.network.errors.subnets import *  # noqa: F403
from cove.network.errors.tags import *  # noqa: F403
