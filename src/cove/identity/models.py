"""Tables of the Identity service. Ids are 32 hexadecimal digits, but for the domain `default` and regions.

`identity_revision` is one row that is counted up in the same transaction as any change that may make a token mean less
(or more) than before: whoever keeps validated tokens in memory drops them when the number has changed. That the row is
there also says that the first objects were made (`cove.identity.bootstrap`).
"""

from __future__ import annotations

import sqlalchemy as sa

from cove.db.schema import Json, metadata


def _reference(name: str, column: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[object]:
    """A column that names a row of another table, and goes when that goes."""
    return sa.Column(
        name, sa.String(64), sa.ForeignKey(column, ondelete="CASCADE"), primary_key=primary_key, nullable=nullable
    )


domains = sa.Table(
    "identity_domains",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("tags", Json, nullable=False),
)

projects = sa.Table(
    "identity_projects",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    # No cascade: who deletes a domain gets its projects and users deleted by name, in one place.
    sa.Column("domain_id", sa.String(64), sa.ForeignKey("identity_domains.id"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("parent_id", sa.String(64), sa.ForeignKey("identity_projects.id"), nullable=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("tags", Json, nullable=False),
    sa.Column("extra", Json, nullable=False),
    sa.UniqueConstraint("domain_id", "name"),
    sa.Index("ix_identity_projects_parent_id", "parent_id"),
)

users = sa.Table(
    "identity_users",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("domain_id", sa.String(64), sa.ForeignKey("identity_domains.id"), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
    # Not a reference: it may name a project that is gone, and is then of no effect.
    sa.Column("default_project_id", sa.String(64), nullable=True),
    sa.Column("description", sa.Text, nullable=True),
    sa.Column("extra", Json, nullable=False),
    sa.UniqueConstraint("domain_id", "name"),
)

roles = sa.Table(
    "identity_roles",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=True),
    sa.Column("immutable", sa.Boolean, nullable=False),
)

implied_roles = sa.Table(
    "identity_implied_roles",
    metadata,
    _reference("prior_role_id", "identity_roles.id", primary_key=True),
    _reference("implied_role_id", "identity_roles.id", primary_key=True),
    sa.Index("ix_identity_implied_roles_implied_role_id", "implied_role_id"),
)

assignments = sa.Table(
    "identity_assignments",
    metadata,
    _reference("user_id", "identity_users.id", primary_key=True),
    # Where the user has the role: "project", "domain" or "system" (whose id is "all").
    sa.Column("scope", sa.String(16), primary_key=True),
    sa.Column("scope_id", sa.String(64), primary_key=True),
    _reference("role_id", "identity_roles.id", primary_key=True),
    sa.Index("ix_identity_assignments_scope_scope_id", "scope", "scope_id"),
    sa.Index("ix_identity_assignments_role_id", "role_id"),
)

application_credentials = sa.Table(
    "identity_application_credentials",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    _reference("user_id", "identity_users.id"),
    _reference("project_id", "identity_projects.id"),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("secret_hash", sa.String(255), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    sa.Column("expires_at", sa.Float, nullable=True),
    sa.Column("unrestricted", sa.Boolean, nullable=False),
    sa.UniqueConstraint("user_id", "name"),
    sa.Index("ix_identity_application_credentials_project_id", "project_id"),
)

application_credential_roles = sa.Table(
    "identity_application_credential_roles",
    metadata,
    _reference("credential_id", "identity_application_credentials.id", primary_key=True),
    _reference("role_id", "identity_roles.id", primary_key=True),
    sa.Index("ix_identity_application_credential_roles_role_id", "role_id"),
)

regions = sa.Table(
    "identity_regions",
    metadata,
    sa.Column("id", sa.String(255), primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("parent_region_id", sa.String(255), sa.ForeignKey("identity_regions.id"), nullable=True),
)

services = sa.Table(
    "identity_services",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("type", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
)

endpoints = sa.Table(
    "identity_endpoints",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    _reference("service_id", "identity_services.id"),
    sa.Column("region_id", sa.String(255), sa.ForeignKey("identity_regions.id"), nullable=True),
    sa.Column("interface", sa.String(16), nullable=False),
    # One that is empty or begins with "/" is below the address by which the client reached us.
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Index("ix_identity_endpoints_service_id", "service_id"),
)

tokens = sa.Table(
    "identity_tokens",
    metadata,
    # SHA-256 of the token: who reads the database can't use what is in it.
    sa.Column("id_hash", sa.String(64), primary_key=True),
    _reference("user_id", "identity_users.id"),
    _reference("project_id", "identity_projects.id", nullable=True),
    _reference("domain_id", "identity_domains.id", nullable=True),
    sa.Column("system", sa.Boolean, nullable=False),
    sa.Column("methods", Json, nullable=False),
    sa.Column("audit_ids", Json, nullable=False),
    _reference("application_credential_id", "identity_application_credentials.id", nullable=True),
    sa.Column("issued_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Index("ix_identity_tokens_expires_at", "expires_at"),
    sa.Index("ix_identity_tokens_user_id", "user_id"),
    sa.Index("ix_identity_tokens_project_id", "project_id"),
    sa.Index("ix_identity_tokens_application_credential_id", "application_credential_id"),
)

revision = sa.Table(
    "identity_revision",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("counter", sa.BigInteger, nullable=False),
)
