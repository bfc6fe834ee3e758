"""The attribute table: what one resource of the API consists of, and all that follows from it.

An `AttributeTable` is data (`cove.network.tables` has one per resource). Validation, defaults, filters, sorting,
`fields`, the extension list and the OpenAPI document are driven by it. As in Networking v2.0, unknown attributes are
refused first, then those the operation does not take, then missing ones and bad values. Who may give and see an
attribute is not said here but by the policy (`cove.network.policy`).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cove.network import errors
from cove.network.context import RequestContext
from cove.network.validators_base import NotConvertible, Validator


class _Marker(enum.Enum):
    REQUIRED = "required"
    UNSET = "unset"


REQUIRED: Final = _Marker.REQUIRED
"""Default of an attribute that a POST must give."""
UNSET: Final = _Marker.UNSET
"""Default of an attribute that the core plugin fills when a POST does not give it."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute."""

    name: str
    convert: Validator
    default: Any = UNSET
    post: bool = False
    put: bool = False
    filter: bool = False
    strict_filter: bool = False
    """Whether a filter value that the attribute could never have is refused; otherwise it just matches nothing."""
    sort: bool = False
    column: str = ""
    """The table's column, where it is not called as the attribute; "-" where there is none."""
    primary_key: bool = False
    extension: str = ""
    """Alias of the API extension that it comes with; empty for the core API."""

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
    extension: str = ""
    """Alias of the API extension that the resource comes with; empty for the core API."""
    by_name: Mapping[str, Attribute] = field(init=False, repr=False)
    columns: tuple[tuple[str, str], ...] = field(init=False, repr=False)
    """(attribute, its column) of each that has one."""
    _post: tuple[Attribute, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_name = {attribute.name: attribute for attribute in self.attributes}
        assert len(by_name) == len(self.attributes), f"an attribute of {self.resource} is listed twice"
        object.__setattr__(self, "by_name", by_name)
        object.__setattr__(self, "columns", tuple((a.name, a.column_name) for a in self.attributes if a.column_name))
        object.__setattr__(self, "_post", tuple(a for a in self.attributes if a.post))

    # --- requests ----------------------------------------------------------------------------------------------------

    def for_create(self, body: Any, context: RequestContext) -> dict[str, Any]:
        """Check a POSTed object: known, allowed and valid attributes, defaults filled; UNSET ones are left out.

        Raises HTTPBadRequest.
        """
        given = self._object(body)
        self._refuse_unknown(given)
        self._project(given, context)
        for name in given:
            if not self.by_name[name].post:
                raise errors.HTTPBadRequest(f"attribute {name!r} cannot be given when creating a {self.resource}")
        result: dict[str, Any] = {}
        for attribute in self._post:
            name = attribute.name
            if name in given:
                result[name] = self._convert(attribute, given[name])
            elif attribute.default is REQUIRED:
                raise errors.HTTPBadRequest(f"a {self.resource} needs the attribute {name!r}, which is not given")
            elif attribute.default is not UNSET:
                default = attribute.default
                result[name] = default.copy() if isinstance(default, (list, dict)) else default
        return result

    def for_update(self, body: Any) -> dict[str, Any]:
        """Check the object of a PUT; only what it gives is in the result. Raises HTTPBadRequest."""
        given = self._object(body)
        self._refuse_unknown(given)
        result: dict[str, Any] = {}
        for name, value in given.items():
            attribute = self.by_name[name]
            if not attribute.put:
                raise errors.HTTPBadRequest(f"attribute {name!r} of a {self.resource} cannot be changed")
            result[name] = self._convert(attribute, value)
        return result

    def given_by_client(self, body: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the checked values that the client said itself, and that are not the default: policy's business."""
        return {name: values[name] for name in body if name in values and values[name] != self.by_name[name].default}

    def _object(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise errors.HTTPBadRequest(f"{self.resource!r} must be an object, not {body!r}")
        return dict(body)

    def _project(self, given: dict[str, Any], context: RequestContext) -> None:
        """project_id and tenant_id are one attribute with two names; it defaults to the caller's project.

        An admin may say that an object belongs to no project: that is what an empty text means, not its absence.
        """
        if "project_id" not in self.by_name:
            return
        project_id = given.get("project_id", given.get("tenant_id", context.project_id))
        if given.get("tenant_id", project_id) != project_id:
            raise errors.HTTPBadRequest(
                f"tenant_id {given['tenant_id']!r} and project_id {project_id!r} differ; give one of them"
            )
        if project_id != context.project_id and not context.is_admin:
            raise errors.HTTPBadRequest(f"only an admin may create a {self.resource} for another project")
        if not project_id and not ({"project_id", "tenant_id"} & given.keys()):
            raise errors.HTTPBadRequest(
                f"a {self.resource} needs a project: give project_id, or use a token that is scoped to one"
            )
        given["project_id"] = given["tenant_id"] = project_id

    def _refuse_unknown(self, given: Mapping[str, Any]) -> None:
        unknown = [name for name in given if name not in self.by_name]
        if unknown:
            raise errors.HTTPBadRequest(
                f"unrecognized attribute(s) of a {self.resource}: {', '.join(map(repr, unknown))}"
            )

    def _convert(self, attribute: Attribute, value: Any) -> Any:
        try:
            return attribute.convert(value)
        except NotConvertible as error:
            raise errors.InvalidInput(reason=f"{attribute.name}: {error}") from None
        except ValueError as error:
            raise errors.HTTPBadRequest(f"invalid input for {attribute.name}: {error}") from None

    # --- answers -----------------------------------------------------------------------------------------------------

    def strip(
        self, item: Mapping[str, Any], hidden: Collection[str] = (), fields: Collection[str] = ()
    ) -> dict[str, Any]:
        """An object without what is hidden from the caller, and with only `fields` if there are any."""
        if fields:
            return {name: item[name] for name in fields if name in item and name not in hidden}
        if not hidden:
            return dict(item)
        return {name: value for name, value in item.items() if name not in hidden}

    # --- queries -----------------------------------------------------------------------------------------------------

    def filters(
        self, query: Iterable[tuple[str, Any]], skip: Collection[str], more: Collection[str] = ()
    ) -> dict[str, list[Any]]:
        """Filters of a list request, name → accepted values, from its query string.

        Raises HTTPBadRequest for what cannot be filtered by, InvalidInput for a value that a strict filter cannot have.

        `skip`: arguments that are no filters; `more`: filters that are no attributes.
        """
        result: dict[str, list[Any]] = {}
        for name, value in query:
            if name in skip:
                continue
            attribute = self.by_name.get(name)
            if attribute is None or not attribute.filter:
                if name in more:
                    result.setdefault(name, []).append(value)
                    continue
                raise errors.HTTPBadRequest(f"{name!r} is not an attribute to filter {self.collection} by")
            result.setdefault(name, []).append(self.filter_value(attribute, value))
        return result

    def filter_value(self, attribute: Attribute, value: Any) -> Any:
        """One value of a filter, converted as the attribute's own values are."""
        if isinstance(value, str):
            value = value.replace("\0", "\ufffd")  # which no text has, either; PostgreSQL refuses to look for the other
        if attribute.name == "fixed_ips":
            return _fixed_ip_filter(value)
        try:
            return attribute.convert(value)
        except ValueError as error:
            if attribute.strict_filter:
                raise errors.InvalidInput(reason=f"filter {attribute.name}: {error}") from None
            return value


def _fixed_ip_filter(value: Any) -> tuple[str, str]:
    """`fixed_ips=ip_address=192.0.2.5` or `fixed_ips=subnet_id=<id>` (Networking v2.0, List ports)."""
    key, separator, wanted = str(value).partition("=")
    if not separator or key not in ("ip_address", "subnet_id", "ip_address_substr"):
        raise errors.InvalidInput(reason=f"filter fixed_ips: {value!r}; use ip_address=ADDRESS or subnet_id=ID")
    return key, wanted
