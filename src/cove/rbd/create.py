"""Creating an image: a chain of OSD operations, one a step, each with its `send_*`, its `handle_*` and its undo.

`STEPS` at the end of the module is the chain. Whatever fails, the steps that were done are undone in reverse order
and the first error is raised. A step whose outcome is unknown (time-out, cancellation) is undone as well.

    names free? → pool validated? → rbd_directory → rbd_id.NAME → features → rbd_header.ID → striping → object map

Of the pool's validation (does it allow overwrites?) the part that takes an unmanaged snapshot is left out, as the
embedded store has no snapshots: `rbd_info` is checked and written like librbd does.

Source: Ceph's librbd image/CreateRequest and image/ValidatePoolRequest (order, names, errnos).
"""

from __future__ import annotations

import asyncio
import errno
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from ..rados.errors import Cancelled, OutcomeUnknown
from ..rados.errors import Error as RadosError
from ..rados.operations import OpVector, ReadOp, WriteOp
from ..wire import cls_rbd
from ..wire.cls_rbd import Feature
from ..wire.object_map import OBJECTS_MAX
from . import features as feature_rules
from .calls import add_call, output
from .errors import ImageExists, InvalidArgument, image_error
from .layout import ORDER_DEFAULT, Layout

if TYPE_CHECKING:
    from ..rados import IoCtx
    from ..rados.results import OpResult

log = structlog.get_logger(__name__)

ID_CHARACTERS_MAX = 14
NAME_BYTES_MAX = 1024
UNDO_TIMEOUT_S = 30.0
POOL_VALIDATED = b"overwrite validated"
POOL_VALIDATE = b"validate"
SIZE_MAX = 1 << 63


@dataclass(frozen=True, slots=True)
class Created:
    """A new image, and how many operations it took."""

    name: str
    id: str
    size: int
    features: int
    operations: int


def check_name(name: str) -> None:
    """Raises InvalidArgument for a name that no image can have."""
    if not name or "\0" in name or len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES_MAX:
        raise InvalidArgument(f"name={name!r}: give a name of 1 to {NAME_BYTES_MAX} bytes without NUL")


def new_image_id(instance_id: int) -> str:
    """Hex of the client's global id, then hex of a random u32; the last 14 characters of it."""
    return f"{instance_id:x}{secrets.randbits(32):x}"[-ID_CHARACTERS_MAX:]


class CreateRequest:
    """Creates one image. `send` runs the chain; `operations` counts what was sent, undo included."""

    def __init__(
        self, ioctx: IoCtx, name: str, size: int, layout: Layout, features: int | None, *, image_id: str
    ) -> None:
        check_name(name)
        if not 0 <= size < SIZE_MAX:
            raise InvalidArgument(f"size={size}: give a size in bytes, at least 0 and below 2^63")
        self.ioctx = ioctx
        self.name = name
        self.size = size
        self.layout = layout
        self.negotiate = features is None
        self.features: int = feature_rules.for_creation(features, layout)
        self.id = image_id
        self.operations = 0
        self.pool_state = b""
        self._object_count = layout.object_count(size)
        if self.features & Feature.OBJECT_MAP and self._object_count > OBJECTS_MAX:
            raise InvalidArgument(
                f"size={size}: {self._object_count} objects are too many for an object map, at most {OBJECTS_MAX}: "
                "choose a larger order or leave out feature 8"
            )

    async def send(self) -> Created:
        """Run the chain. Raises the error of the step that failed, after undoing."""
        done: list[Step] = []
        for step in STEPS:
            if not step.needed(self):
                continue
            oid, op = step.send(self)
            try:
                await self._run(step, oid, op)
            except BaseException as error:
                if getattr(error, "errno", None) == errno.EBADF:
                    # the header belongs to another image with the same id: whatever has that id must stay
                    raise
                doubtful = isinstance(error, (OutcomeUnknown, Cancelled, asyncio.CancelledError))
                await asyncio.shield(self._undo([*done, step] if doubtful else done))
                raise
            done.append(step)
        log.info("image_created", image=self.name, id=self.id, size=self.size, operations=self.operations)
        return Created(self.name, self.id, self.size, int(self.features), self.operations)

    async def _run(self, step: Step, oid: str, op: OpVector) -> None:
        self.operations += 1
        try:
            reply = await self.ioctx.operate(oid, op)
        except RadosError as error:
            if isinstance(error, OutcomeUnknown):
                raise
            step.handle(self, error, None)
        else:
            step.handle(self, None, reply)

    async def _undo(self, done: list[Step]) -> None:
        """Undo in reverse order; an error there is logged, and the next step undone."""
        for step in reversed(done):
            if step.undo is None:
                continue
            oid, op = step.undo(self)
            self.operations += 1
            try:
                async with asyncio.timeout(UNDO_TIMEOUT_S):
                    await self.ioctx.operate(oid, op)
            except (RadosError, TimeoutError) as error:
                log.warning("image_create_undo_failed", image=self.name, step=step.name, error=str(error))

    # are the names free?

    def send_check_old_header(self) -> tuple[str, OpVector]:
        """A header of the old format would have this name."""
        return f"{self.name}.rbd", ReadOp().stat()

    def send_check_id_object(self) -> tuple[str, OpVector]:
        """The object that an image of this name has."""
        return cls_rbd.id_object(self.name), ReadOp().stat()

    def handle_absent(self, error: RadosError | None, _reply: OpResult | None) -> None:
        """ENOENT is what we want."""
        if error is None:
            raise ImageExists(f"image {self.name!r} exists already: choose another name, or remove it first")
        if error.errno != errno.ENOENT:
            raise error

    # is the pool fit for images?

    def send_list_pool_settings(self) -> tuple[str, OpVector]:
        """Settings for all images of the pool."""
        return cls_rbd.INFO, add_call(ReadOp(), cls_rbd.METADATA_LIST, cls_rbd.KeysAfter("", 64))

    def handle_list_pool_settings(self, error: RadosError | None, _reply: OpResult | None) -> None:
        """None of them changes how images are created here."""
        if error is not None and error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
            raise error

    def send_read_pool_info(self) -> tuple[str, OpVector]:
        """Says whether the pool was validated."""
        return cls_rbd.INFO, ReadOp().read(0, 0)

    def handle_read_pool_info(self, error: RadosError | None, reply: OpResult | None) -> None:
        """ENOENT: the pool's first image."""
        if reply is not None:
            self.pool_state = bytes(reply.data(0))
        elif error is not None and error.errno != errno.ENOENT:
            raise error

    def send_begin_validation(self) -> tuple[str, OpVector]:
        """Create `rbd_info`."""
        return cls_rbd.INFO, WriteOp().create(exclusive=True).write(POOL_VALIDATE)

    def handle_begin_validation(self, error: RadosError | None, _reply: OpResult | None) -> None:
        """Somebody else may do the same just now."""
        if error is not None and error.errno == errno.EOPNOTSUPP:
            raise InvalidArgument("the pool does not allow overwrites: choose a replicated pool for images") from error
        if error is not None and error.errno != errno.EEXIST:
            raise error

    def send_finish_validation(self) -> tuple[str, OpVector]:
        """Overwrite it: that is the test."""
        return cls_rbd.INFO, WriteOp().write(POOL_VALIDATED)

    def handle_finish_validation(self, error: RadosError | None, _reply: OpResult | None) -> None:
        """The pool is fit if that worked."""
        if error is not None and error.errno == errno.EOPNOTSUPP:
            raise InvalidArgument("the pool does not allow overwrites: choose a replicated pool for images") from error
        self.handle_plain(error, None)

    # the image's own objects

    def send_add_to_directory(self) -> tuple[str, OpVector]:
        """Reserve the name."""
        entry = cls_rbd.DirectoryImage(self.name, self.id)
        return cls_rbd.DIRECTORY, add_call(WriteOp(), cls_rbd.DIR_ADD_IMAGE, entry)

    def undo_add_to_directory(self) -> tuple[str, OpVector]:
        """Only removes the pair of exactly this name and id."""
        entry = cls_rbd.DirectoryImage(self.name, self.id)
        return cls_rbd.DIRECTORY, add_call(WriteOp(), cls_rbd.DIR_REMOVE_IMAGE, entry)

    def handle_add_to_directory(self, error: RadosError | None, _reply: OpResult | None) -> None:
        """EEXIST: another client took the name between our check and now, or left it half made."""
        if error is not None and error.errno == errno.EEXIST:
            raise ImageExists(f"image {self.name!r} exists already: choose another name, or remove it first") from error
        self.handle_plain(error, None)

    def send_create_id_object(self) -> tuple[str, OpVector]:
        """From the name to the id."""
        op = add_call(WriteOp().create(exclusive=True), cls_rbd.SET_ID, self.id)
        return cls_rbd.id_object(self.name), op

    def undo_create_id_object(self) -> tuple[str, OpVector]:
        """Only if it holds our id."""
        op = WriteOp().cmpext(cls_rbd.SET_ID.input.pack(self.id)).remove()
        return cls_rbd.id_object(self.name), op

    def send_negotiate_features(self) -> tuple[str, OpVector]:
        """What the OSDs know."""
        return cls_rbd.DIRECTORY, add_call(ReadOp(), cls_rbd.GET_ALL_FEATURES, None)

    def handle_negotiate_features(self, error: RadosError | None, reply: OpResult | None) -> None:
        """Leave out what they don't; an error changes nothing."""
        if reply is not None and error is None:
            self.features &= output(reply, 0, cls_rbd.GET_ALL_FEATURES)

    def send_create_header(self) -> tuple[str, OpVector]:
        """Size, order, features, prefix."""
        settings = cls_rbd.CreateImage(self.size, self.layout.order, int(self.features), cls_rbd.DATA_PREFIX + self.id)
        return cls_rbd.header_object(self.id), add_call(WriteOp().create(exclusive=True), cls_rbd.CREATE, settings)

    def undo_create_header(self) -> tuple[str, OpVector]:
        """Its name is our random id."""
        return cls_rbd.header_object(self.id), WriteOp().remove()

    def handle_create_header(self, error: RadosError | None, _reply: OpResult | None) -> None:
        """EEXIST: the random id is taken. Nothing is undone then, see `send`."""
        if error is not None and error.errno == errno.EEXIST:
            raise image_error(errno.EBADF, f"image id {self.id} is in use; try again") from error
        self.handle_plain(error, None)

    def send_set_striping(self) -> tuple[str, OpVector]:
        """Where it is not the default."""
        striping = cls_rbd.Striping(self.layout.stripe_unit, self.layout.stripe_count)
        op = add_call(WriteOp(), cls_rbd.SET_STRIPE_UNIT_COUNT, striping)
        return cls_rbd.header_object(self.id), op

    def send_resize_object_map(self) -> tuple[str, OpVector]:
        """All objects absent."""
        op = add_call(WriteOp(), cls_rbd.OBJECT_MAP_RESIZE, cls_rbd.ObjectMapResize(self._object_count, 0))
        return cls_rbd.object_map_object(self.id), op

    def undo_resize_object_map(self) -> tuple[str, OpVector]:
        """Its name is our random id."""
        return cls_rbd.object_map_object(self.id), WriteOp().remove()

    def handle_plain(self, error: RadosError | None, _reply: OpResult | None) -> None:
        """Any error ends the creation."""
        if error is not None:
            raise error

    # which steps are needed

    def always(self) -> bool:
        """In every creation."""
        return True

    def pool_is_new(self) -> bool:
        """`rbd_info` says neither that the pool is validated nor that it is being validated."""
        return self.pool_state not in (POOL_VALIDATED, POOL_VALIDATE)

    def pool_is_not_validated(self) -> bool:
        """The validation has to be finished."""
        return self.pool_state != POOL_VALIDATED

    def features_are_open(self) -> bool:
        """The caller left the choice to us."""
        return self.negotiate

    def has_striping(self) -> bool:
        """Not the default layout."""
        return bool(self.features & Feature.STRIPINGV2)

    def has_object_map(self) -> bool:
        """With an object map."""
        return bool(self.features & Feature.OBJECT_MAP)


Prepared = Callable[[CreateRequest], tuple[str, OpVector]]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: what is sent to which object, what its answer means, and how it is undone."""

    name: str
    send: Prepared
    handle: Callable[[CreateRequest, RadosError | None, OpResult | None], None]
    undo: Prepared | None = None
    needed: Callable[[CreateRequest], bool] = CreateRequest.always


_R = CreateRequest
STEPS: tuple[Step, ...] = (
    Step("check_old_header", _R.send_check_old_header, _R.handle_absent),
    Step("check_id_object", _R.send_check_id_object, _R.handle_absent),
    Step("list_pool_settings", _R.send_list_pool_settings, _R.handle_list_pool_settings),
    Step("read_pool_info", _R.send_read_pool_info, _R.handle_read_pool_info),
    Step("begin_validation", _R.send_begin_validation, _R.handle_begin_validation, needed=_R.pool_is_new),
    Step("finish_validation", _R.send_finish_validation, _R.handle_finish_validation, needed=_R.pool_is_not_validated),
    Step("add_to_directory", _R.send_add_to_directory, _R.handle_add_to_directory, _R.undo_add_to_directory),
    Step("create_id_object", _R.send_create_id_object, _R.handle_plain, _R.undo_create_id_object),
    Step("negotiate_features", _R.send_negotiate_features, _R.handle_negotiate_features, needed=_R.features_are_open),
    Step("create_header", _R.send_create_header, _R.handle_create_header, _R.undo_create_header),
    Step("set_striping", _R.send_set_striping, _R.handle_plain, needed=_R.has_striping),
    Step(
        "resize_object_map",
        _R.send_resize_object_map,
        _R.handle_plain,
        _R.undo_resize_object_map,
        needed=_R.has_object_map,
    ),
)
"""The chain, in order. Nine operations for an image with default features in a pool that has images already."""


async def init_pool(ioctx: IoCtx) -> None:
    """Validate a pool for images ahead of the first one, as `rbd pool init` does. Twice is fine."""
    for info in (POOL_VALIDATED, POOL_VALIDATE, b""):
        probe = WriteOp().cmpext(info) if info else WriteOp().create(exclusive=True)
        try:
            await ioctx.operate(cls_rbd.INFO, probe.write(POOL_VALIDATED))
        except RadosError as error:
            if error.errno not in (errno.ECANCELED, errno.ENOENT, errno.EEXIST):
                raise
        else:
            return


async def create(
    ioctx: IoCtx,
    name: str,
    size_bytes: int,
    *,
    order: int = ORDER_DEFAULT,
    features: int | None = None,
    stripe_unit: int = 0,
    stripe_count: int = 0,
) -> Created:
    """Create an image. `features` None: the default ones (61), as far as the OSDs know them.

    Raises ImageExists, ArgumentOutOfRange (order), InvalidArgument (size, striping, features that miss another),
    FunctionNotSupported (unknown feature), or the rados error of the step that failed.
    """
    if bool(stripe_unit) != bool(stripe_count):
        raise InvalidArgument(f"stripe_unit={stripe_unit}, stripe_count={stripe_count}: give both, or neither of them")
    layout = Layout(order, stripe_unit, stripe_count or 1)
    request = CreateRequest(
        ioctx, name, size_bytes, layout, features, image_id=new_image_id(ioctx.cluster.objecter.messenger.name.number)
    )
    return await request.send()
