"""The attribute table: what one resource of the API consists of, and all that follows from it.

An `AttributeTable` is data (`cove.network.resources` has one per resource). Validation, defaults, stripping of what
a caller may not see, filters, sorting and `fields` are driven by it. As in Networking v2.0, unknown attributes are
refused first, then those the operation does not take, then missing ones and bad values.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cove.network import errors
from cove.network.context import RequestContext
from cove.network.validators import Convert


class _Marker(enum.Enum):
    REQUIRED = "required"
    UNSET = "unset"


REQUIRED: Final = _Marker.REQUIRED
"""Default of an attribute that a POST must give."""
UNSET: Final = _Marker.UNSET
"""Default of an attribute that the core plugin fills when a POST does not give it."""


class Visible(enum.Enum):
    """Who sees an attribute in answers."""

    EVERYONE = "everyone"
    ADMIN = "admin"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. `convert` checks a client's value and gives the one to keep, or raises ValueError(reason)."""

    name: str
    convert: Convert
    default: Any = UNSET
    post: bool = False
    put: bool = False
    visible: Visible = Visible.EVERYONE
    filter: bool = False
    strict_filter: bool = False
    """Whether a filter value that the attribute could never have is refused; otherwise it just matches nothing."""
    sort: bool = False
    column: str = ""
    """The table's column, where it is not called as the attribute; "-" where there is none."""
    required_by_policy: bool = False
    """Whether access decisions need it, so that it is read even if `fields` does not ask for it."""
    primary_key: bool = False
    admin_only: bool = False
    """Whether only an admin may give it."""

    @property
    def column_name(self) -> str:
        """Name of the column, or empty."""
        return "" if self.column == "-" else self.column or self.name


@dataclass(frozen=True)
class AttributeTable:
    """All attributes of a resource, in the order in which an answer shows them."""

    resource: str
    collection: str
    attributes: tuple[Attribute, ...]
    by_name: Mapping[str, Attribute] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_name = {attribute.name: attribute for attribute in self.attributes}
        assert len(by_name) == len(self.attributes), f"an attribute of {self.resource} is listed twice"
        object.__setattr__(self, "by_name", by_name)
        object.__setattr__(self, "_post", tuple(a for a in self.attributes if a.post))
        object.__setattr__(self, "_hidden_from_user", tuple(self._hidden(is_admin=False)))
        object.__setattr__(self, "_hidden_from_admin", tuple(self._hidden(is_admin=True)))

    def _hidden(self, *, is_admin: bool) -> Iterable[str]:
        shown = (Visible.EVERYONE, Visible.ADMIN) if is_admin else (Visible.EVERYONE,)
        return (a.name for a in self.attributes if a.visible not in shown)

    # --- requests ----------------------------------------------------------------------------------------------------

    def for_create(self, body: Any, context: RequestContext) -> dict[str, Any]:
        """Check a POSTed object: known, allowed and valid attributes, defaults filled; UNSET ones are left out.

        Raises HTTPBadRequest, NotAuthorized.
        """
        given = self._object(body)
        self._project(given, context)
        self._refuse_unknown(given)
        for name in given:
            if not self.by_name[name].post:
                raise errors.HTTPBadRequest(f"attribute {name!r} cannot be given when creating a {self.resource}")
        result: dict[str, Any] = {}
        for attribute in self._post:  # type: ignore[attr-defined]
            name = attribute.name
            if name in given:
                result[name] = self._convert(attribute, given[name], context)
            elif attribute.default is REQUIRED:
                raise errors.HTTPBadRequest(f"a {self.resource} needs the attribute {name!r}, which is not given")
            elif attribute.default is not UNSET:
                default = attribute.default
                result[name] = default.copy() if isinstance(default, (list, dict)) else default
        return result

    def for_update(self, body: Any, context: RequestContext) -> dict[str, Any]:
        """Check the object of a PUT; only what it gives is in the result. Raises HTTPBadRequest, NotAuthorized."""
        given = self._object(body)
        self._refuse_unknown(given)
        result: dict[str, Any] = {}
        for name, value in given.items():
            attribute = self.by_name[name]
            if not attribute.put:
                raise errors.HTTPBadRequest(f"attribute {name!r} of a {self.resource} cannot be changed")
            result[name] = self._convert(attribute, value, context)
        return result

    def _object(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise errors.HTTPBadRequest(f"{self.resource!r} must be an object, not {body!r}")
        return dict(body)

    def _project(self, given: dict[str, Any], context: RequestContext) -> None:
        """project_id and tenant_id are one attribute with two names; it defaults to the caller's project."""
        project_id = given.get("project_id", given.get("tenant_id"))
        if project_id is None:
            project_id = context.project_id
        if given.get("tenant_id", project_id) != project_id:
            raise errors.TenantIdProjectIdFilterConflict(tenant_id=given["tenant_id"], project_id=project_id)
        if project_id != context.project_id and not context.is_admin:
            raise errors.NotAuthorized(action=f"creating a {self.resource} for another project")
        given["project_id"] = given["tenant_id"] = project_id

    def _refuse_unknown(self, given: Mapping[str, Any]) -> None:
        unknown = [name for name in given if name not in self.by_name]
        if unknown:
            raise errors.HTTPBadRequest(
                f"unrecognized attribute(s) of a {self.resource}: {', '.join(map(repr, unknown))}"
            )

    def _convert(self, attribute: Attribute, value: Any, context: RequestContext) -> Any:
        try:
            converted = attribute.convert(value)
        except ValueError as error:
            raise errors.HTTPBadRequest(f"invalid input for {attribute.name}: {error}") from None
        if attribute.admin_only and not context.is_admin and converted != attribute.default:
            raise errors.NotAuthorized(action=f"setting {attribute.name} of a {self.resource}")
        return converted

    # --- answers -----------------------------------------------------------------------------------------------------

    def strip(self, item: Mapping[str, Any], context: RequestContext, fields: Iterable[str] = ()) -> dict[str, Any]:
        """What the caller sees of an object: nothing hidden from its role, and only `fields` if there are any."""
        hidden = self._hidden_from_admin if context.is_admin else self._hidden_from_user  # type: ignore[attr-defined]
        wanted = tuple(fields)
        if wanted:
            return {name: item[name] for name in wanted if name in item and name not in hidden}
        if not hidden:
            return dict(item)
        return {name: value for name, value in item.items() if name not in hidden}

    # --- queries -----------------------------------------------------------------------------------------------------

    def filters(self, query: Iterable[tuple[str, str]], skip: Iterable[str]) -> dict[str, list[Any]]:
        """Filters of a list request, name → accepted values, from its query string. Raises HTTPBadRequest."""
        skip = tuple(skip)
        result: dict[str, list[Any]] = {}
        for name, value in query:
            if name in skip:
                continue
            attribute = self.by_name.get(name)
            if attribute is None or not attribute.filter:
                raise errors.HTTPBadRequest(f"{name!r} is not an attribute to filter {self.collection} by")
            result.setdefault(name, []).append(self.filter_value(attribute, value))
        return result

    def filter_value(self, attribute: Attribute, value: Any) -> Any:
        """One value of a filter, converted as the attribute's own values are."""
        if attribute.name == "fixed_ips":
            return _fixed_ip_filter(value)
        if not value and isinstance(value, str):
            return value
        try:
            return attribute.convert(value)
        except ValueError as error:
            if attribute.strict_filter:
                raise errors.HTTPBadRequest(f"invalid value in filter {attribute.name}: {error}") from None
            return value


def _fixed_ip_filter(value: Any) -> tuple[str, str]:
    """`fixed_ips=ip_address=192.0.2.5` or `fixed_ips=subnet_id=<id>` (Networking v2.0, List ports)."""
    key, separator, wanted = str(value).partition("=")
    if not separator or key not in ("ip_address", "subnet_id", "ip_address_substr"):
        raise errors.HTTPBadRequest(
            f"invalid value in filter fixed_ips: {value!r}; use ip_address=ADDRESS or subnet_id=ID"
        )
    return key, wanted
