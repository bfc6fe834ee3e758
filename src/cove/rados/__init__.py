"""A client of RADOS: asyncio-native, cancellable, with time-outs."""

from ..wire.cls_lock import LockerId, LockerInfo, LockFlag, LockInfo, LockType
from ..wire.encoding import encode_string
from ..wire.errors import UsageError
from ..wire.listing import ListedObject, ObjectCursor, plain_filter
from ..wire.osd_ops import AllocHintFlag, ChecksumType, CmpOp, OpFlag, RequestFlag
from ..wire.snapsets import CloneInfo, SnapList
from ..wire.types import NOSNAP, SNAPDIR, EntityName, EntityType, ObjectLocator
from ..wire.watches import WatcherId, WatchItem
from .client import Rados
from .commands import CommandResult
from .completion import AioCompletion
from .conf import RadosConf
from .config import Config
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
from .ioctx_listing import ALL_NAMESPACES, ObjectListing
from .ioctx_locks import HeldLock
from .ioctx_snaps import PoolSnap
from .monitor_log import LogLevel, LogLine
from .notify import NotifyResult, NotifyTimedOut
from .operations import ReadOp, WriteOp
from .results import ObjectStat, OmapKeys, OmapValues, OpOut, OpResult, SparseRead
from .stats import ClusterStat, PoolStats
from .transport import CephTransport, LoopbackTransport, Transport
from .watch import Notification, Watch

__all__ = [
    "ALL_NAMESPACES",
    "NOSNAP",
    "SNAPDIR",
    "AioCompletion",
    "AllocHintFlag",
    "Blocklisted",
    "Cancelled",
    "CephTransport",
    "ChecksumType",
    "CloneInfo",
    "ClusterStat",
    "CmpOp",
    "CommandResult",
    "CompareMismatch",
    "Config",
    "EntityName",
    "EntityType",
    "Error",
    "HeldLock",
    "InOutError",
    "InvalidArgument",
    "IoCtx",
    "ListedObject",
    "LockFlag",
    "LockInfo",
    "LockType",
    "LockerId",
    "LockerInfo",
    "LogLevel",
    "LogLine",
    "LoopbackTransport",
    "NameTooLong",
    "NoData",
    "NoSpace",
    "NotConnected",
    "NotSupported",
    "Notification",
    "NotifyResult",
    "NotifyTimedOut",
    "ObjectBusy",
    "ObjectCursor",
    "ObjectExists",
    "ObjectListing",
    "ObjectLocator",
    "ObjectNotFound",
    "ObjectStat",
    "OldSnapContext",
    "OmapKeys",
    "OmapValues",
    "OpFlag",
    "OpOut",
    "OpResult",
    "OutOfRange",
    "OutcomeUnknown",
    "Overflow",
    "Overloaded",
    "PermissionDenied",
    "PoolSnap",
    "PoolStats",
    "Rados",
    "RadosConf",
    "ReadOnly",
    "ReadOp",
    "RequestFlag",
    "SnapList",
    "SparseRead",
    "TimedOut",
    "TooLarge",
    "Transport",
    "UsageError",
    "Watch",
    "WatchItem",
    "WatcherId",
    "WriteOp",
    "encode_string",
    "make_error",
    "plain_filter",
]
