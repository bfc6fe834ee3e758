"""A client of RADOS: asyncio-native, cancellable, with time-outs."""

from ..wire.encoding import encode_string
from ..wire.listing import ListedObject
from .client import Rados
from .commands import CommandResult
from .completion import AioCompletion
from .conf import RadosConf
from .errors import (
    Blocklisted,
    Cancelled,
    CompareMismatch,
    Error,
    InOutError,
    InvalidArgument,
    NameTooLong,
    NoData,
    NoSpace,
    NotConnected,
    NotSupported,
    ObjectBusy,
    ObjectExists,
    ObjectNotFound,
    OldSnapContext,
    OutcomeUnknown,
    OutOfRange,
    Overflow,
    Overloaded,
    PermissionDenied,
    ReadOnly,
    TimedOut,
    TooLarge,
    make_error,
)
from .ioctx import IoCtx
from .ioctx_listing import ALL_NAMESPACES
from .operations import ReadOp, WriteOp
from .results import ObjectStat, OmapKeys, OmapValues, OpOut, OpResult, SparseRead
from .stats import ClusterStat, PoolStats
from .transport import CephTransport, LoopbackTransport, Transport

__all__ = [
    "ALL_NAMESPACES",
    "AioCompletion",
    "Blocklisted",
    "Cancelled",
    "CephTransport",
    "ClusterStat",
    "CommandResult",
    "CompareMismatch",
    "Error",
    "InOutError",
    "InvalidArgument",
    "IoCtx",
    "ListedObject",
    "LoopbackTransport",
    "NameTooLong",
    "NoData",
    "NoSpace",
    "NotConnected",
    "NotSupported",
    "ObjectBusy",
    "ObjectExists",
    "ObjectNotFound",
    "ObjectStat",
    "OldSnapContext",
    "OmapKeys",
    "OmapValues",
    "OpOut",
    "OpResult",
    "OutOfRange",
    "OutcomeUnknown",
    "Overflow",
    "Overloaded",
    "PermissionDenied",
    "PoolStats",
    "Rados",
    "RadosConf",
    "ReadOnly",
    "ReadOp",
    "SparseRead",
    "TimedOut",
    "TooLarge",
    "Transport",
    "WriteOp",
    "encode_string",
    "make_error",
]
