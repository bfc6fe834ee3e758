"""Which features an image gets when it is created, and what a client that knows only some may do with it.

Pure functions over the feature bits (`wire.cls_rbd.Feature`).

Source: Ceph's include/rbd/features.h, librbd's create and open requests (rules and errnos).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..wire.cls_rbd import FEATURES_ALL, FEATURES_DEFAULT, FEATURES_INCOMPATIBLE, Feature
from .errors import FunctionNotSupported, InvalidArgument
from .layout import Layout

FEATURES_IMPLICIT = int(
    Feature.STRIPINGV2
    | Feature.FAST_DIFF
    | Feature.DATA_POOL
    | Feature.OPERATIONS
    | Feature.MIGRATING
    | Feature.NON_PRIMARY
    | Feature.DIRTY_CACHE
)
"""Never taken from the caller at creation: they follow from other choices."""

DEPENDENCIES: tuple[tuple[Feature, Feature], ...] = (
    (Feature.FAST_DIFF, Feature.OBJECT_MAP),
    (Feature.OBJECT_MAP, Feature.EXCLUSIVE_LOCK),
    (Feature.JOURNALING, Feature.EXCLUSIVE_LOCK),
)
"""The first needs the second."""

KNOWN_READ = int(
    Feature.LAYERING
    | Feature.STRIPINGV2
    | Feature.EXCLUSIVE_LOCK
    | Feature.OBJECT_MAP
    | Feature.FAST_DIFF
    | Feature.DEEP_FLATTEN
    | Feature.OPERATIONS
)
KNOWN_WRITE = KNOWN_READ


def names(features: int) -> list[str]:
    """Names as the tools print them, e.g. `exclusive-lock`; bits without a name as numbers."""
    found = [feature for feature in Feature if features & feature]
    labels = ["striping" if f is Feature.STRIPINGV2 else str(f.name).lower().replace("_", "-") for f in found]
    rest = features & ~FEATURES_ALL
    return labels + ([hex(rest)] if rest else [])


def check_dependencies(features: int) -> None:
    """Raises InvalidArgument if a feature misses one that it needs."""
    for feature, needed in DEPENDENCIES:
        if features & feature and not features & needed:
            raise InvalidArgument(
                f"features={features}: {names(feature)[0]} needs {names(needed)[0]}, add {needed.value} or drop "
                f"{feature.value}"
            )


def for_creation(requested: int | None, layout: Layout) -> int:
    """The features of a new image; None asks for the default ones.

    Raises FunctionNotSupported for a bit that nobody knows or that can't be made here, InvalidArgument for features
    that miss another.
    """
    features = FEATURES_DEFAULT if requested is None else requested
    if features & ~FEATURES_ALL:
        raise FunctionNotSupported(f"features={features}: unknown {names(features & ~FEATURES_ALL)}, leave those out")
    features &= ~FEATURES_IMPLICIT
    if features & Feature.OBJECT_MAP:
        features |= Feature.FAST_DIFF
    if not layout.is_default:
        features |= Feature.STRIPINGV2
    if features & Feature.JOURNALING:
        raise FunctionNotSupported(f"features={features}: journaling can't be switched on here, leave out 64")
    check_dependencies(features)
    return features


@dataclass(frozen=True, slots=True)
class Access:
    """What may be done with an image; `reason` says why it may only be read (empty: it may be written)."""

    reason: str = ""

    @property
    def writable(self) -> bool:
        """Whether the image may be written."""
        return not self.reason


def access(features: int, *, has_parent: bool, has_snapshots: bool) -> Access:
    """What this client may do with an image.

    Raises FunctionNotSupported where even reading would give wrong bytes.
    """
    unreadable = features & FEATURES_INCOMPATIBLE & ~KNOWN_READ
    if unreadable:
        raise FunctionNotSupported(f"the image needs {', '.join(names(unreadable))}, which is not supported here")
    if features & Feature.MIGRATING:
        raise FunctionNotSupported("the image is being migrated, which is not supported here: finish or abort that")
    if has_parent:
        raise FunctionNotSupported("the image is a clone, which is not supported here: flatten it first")
    unwritable = features & ~KNOWN_WRITE
    if unwritable:
        return Access(f"the image uses {', '.join(names(unwritable))}, so that it can only be read here")
    if has_snapshots:
        return Access("the image has snapshots, so that it can only be read here")
    return Access()
