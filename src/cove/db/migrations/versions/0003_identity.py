"""Identity: users, projects, roles, application credentials, the catalogue, tokens.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = (
    "identity_domains",
    "identity_regions",
    "identity_revision",
    "identity_roles",
    "identity_services",
    "identity_endpoints",
    "identity_implied_roles",
    "identity_projects",
    "identity_users",
    "identity_application_credentials",
    "identity_assignments",
    "identity_application_credential_roles",
    "identity_tokens",
)
"""In the order in which they refer to each other."""


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "identity_domains",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity_domains"),
        sa.UniqueConstraint("name", name="uq_identity_domains_name"),
    )
    op.create_table(
        "identity_regions",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("parent_region_id", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["parent_region_id"], ["identity_regions.id"], name="fk_identity_regions_parent_region_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_identity_regions"),
    )
    op.create_table(
        "identity_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity_revision"),
    )
    op.create_table(
        "identity_roles",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("immutable", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity_roles"),
        sa.UniqueConstraint("name", name="uq_identity_roles_name"),
    )
    op.create_table(
        "identity_services",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity_services"),
    )
    op.create_table(
        "identity_endpoints",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("service_id", sa.String(length=64), nullable=False),
        sa.Column("region_id", sa.String(length=255), nullable=True),
        sa.Column("interface", sa.String(length=16), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["region_id"], ["identity_regions.id"], name="fk_identity_endpoints_region_id"),
        sa.ForeignKeyConstraint(
            ["service_id"], ["identity_services.id"], name="fk_identity_endpoints_service_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_identity_endpoints"),
    )
    op.create_index("ix_identity_endpoints_service_id", "identity_endpoints", ["service_id"], unique=False)
    op.create_table(
        "identity_implied_roles",
        sa.Column("prior_role_id", sa.String(length=64), nullable=False),
        sa.Column("implied_role_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["implied_role_id"],
            ["identity_roles.id"],
            name="fk_identity_implied_roles_implied_role_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["prior_role_id"], ["identity_roles.id"], name="fk_identity_implied_roles_prior_role_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("prior_role_id", "implied_role_id", name="pk_identity_implied_roles"),
    )
    op.create_index(
        "ix_identity_implied_roles_implied_role_id", "identity_implied_roles", ["implied_role_id"], unique=False
    )
    op.create_table(
        "identity_projects",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("domain_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("parent_id", sa.String(length=64), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["identity_domains.id"], name="fk_identity_projects_domain_id"),
        sa.ForeignKeyConstraint(["parent_id"], ["identity_projects.id"], name="fk_identity_projects_parent_id"),
        sa.PrimaryKeyConstraint("id", name="pk_identity_projects"),
        sa.UniqueConstraint("domain_id", "name", name="uq_identity_projects_domain_id_name"),
    )
    op.create_index("ix_identity_projects_parent_id", "identity_projects", ["parent_id"], unique=False)
    op.create_table(
        "identity_users",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("domain_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("default_project_id", sa.String(length=64), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["identity_domains.id"], name="fk_identity_users_domain_id"),
        sa.PrimaryKeyConstraint("id", name="pk_identity_users"),
        sa.UniqueConstraint("domain_id", "name", name="uq_identity_users_domain_id_name"),
    )
    op.create_table(
        "identity_application_credentials",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("secret_hash", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("unrestricted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["identity_projects.id"],
            name="fk_identity_application_credentials_project_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name="fk_identity_application_credentials_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_identity_application_credentials"),
        sa.UniqueConstraint("user_id", "name", name="uq_identity_application_credentials_user_id_name"),
    )
    op.create_index(
        "ix_identity_application_credentials_project_id",
        "identity_application_credentials",
        ["project_id"],
        unique=False,
    )
    op.create_table(
        "identity_assignments",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("scope_id", sa.String(length=64), nullable=False),
        sa.Column("role_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["role_id"], ["identity_roles.id"], name="fk_identity_assignments_role_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name="fk_identity_assignments_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "scope", "scope_id", "role_id", name="pk_identity_assignments"),
    )
    op.create_index("ix_identity_assignments_role_id", "identity_assignments", ["role_id"], unique=False)
    op.create_index(
        "ix_identity_assignments_scope_scope_id", "identity_assignments", ["scope", "scope_id"], unique=False
    )
    op.create_table(
        "identity_application_credential_roles",
        sa.Column("credential_id", sa.String(length=64), nullable=False),
        sa.Column("role_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"],
            ["identity_application_credentials.id"],
            name="fk_identity_application_credential_roles_credential_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["role_id"],
            ["identity_roles.id"],
            name="fk_identity_application_credential_roles_role_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("credential_id", "role_id", name="pk_identity_application_credential_roles"),
    )
    op.create_index(
        "ix_identity_application_credential_roles_role_id",
        "identity_application_credential_roles",
        ["role_id"],
        unique=False,
    )
    op.create_table(
        "identity_tokens",
        sa.Column("id_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=True),
        sa.Column("domain_id", sa.String(length=64), nullable=True),
        sa.Column("system", sa.Boolean(), nullable=False),
        sa.Column("methods", sa.Text(), nullable=False),
        sa.Column("audit_ids", sa.Text(), nullable=False),
        sa.Column("application_credential_id", sa.String(length=64), nullable=True),
        sa.Column("issued_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_credential_id"],
            ["identity_application_credentials.id"],
            name="fk_identity_tokens_application_credential_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["identity_domains.id"], name="fk_identity_tokens_domain_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["identity_projects.id"], name="fk_identity_tokens_project_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name="fk_identity_tokens_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id_hash", name="pk_identity_tokens"),
    )
    op.create_index(
        "ix_identity_tokens_application_credential_id", "identity_tokens", ["application_credential_id"], unique=False
    )
    op.create_index("ix_identity_tokens_expires_at", "identity_tokens", ["expires_at"], unique=False)
    op.create_index("ix_identity_tokens_project_id", "identity_tokens", ["project_id"], unique=False)
    op.create_index("ix_identity_tokens_user_id", "identity_tokens", ["user_id"], unique=False)


def downgrade() -> None:
    """Drop them: users, projects and tokens are lost."""
    for table in reversed(TABLES):
        op.drop_table(table)
