"""Identity v3: users, projects, roles, application credentials, tokens, the catalogue. See `service`."""

from __future__ import annotations

from cove.identity.errors import IdentityError
from cove.identity.service import IdentityService

__all__ = ["IdentityError", "IdentityService"]
