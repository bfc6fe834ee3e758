"""The MetaData object that all tables are declared on, and the column types they share.

Tables live beside the code that owns them (`cove.network.models`, `cove.compute.models`); the revisions under
`migrations/` are what creates them.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value in a TEXT column, encoded with msgspec. SQL NULL is None."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Encode for the database."""
        return None if value is None else _encode(value).decode()

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        """Decode from the database."""
        return None if value is None else _decode(value)
