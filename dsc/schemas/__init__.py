"""The data contracts: typed, frozen values that go to JSON and back. Nothing here knows torch."""

from dsc.schemas.codec import CodecRecord
from dsc.schemas.left_out import LeftOut
from dsc.schemas.manifest import (
    FORMAT_VERSION,
    FailedSample,
    FileRecord,
    Manifest,
    ShardRecord,
    StreamRecord,
    StreamTotals,
)
from dsc.schemas.origin import Origin
from dsc.schemas.quality import Quality
from dsc.schemas.source_report import SourceReport, TaskReport
from dsc.schemas.stream import Stream, required_streams
from dsc.schemas.target import Bound, BoundKind, Metric, Target
from dsc.schemas.task import EXACT_KINDS, DType, Task, TaskKind, resolve_task, resolve_tasks

__all__ = [
    "EXACT_KINDS",
    "FORMAT_VERSION",
    "Bound",
    "BoundKind",
    "CodecRecord",
    "DType",
    "FailedSample",
    "FileRecord",
    "LeftOut",
    "Manifest",
    "Metric",
    "Origin",
    "Quality",
    "ShardRecord",
    "SourceReport",
    "Stream",
    "StreamRecord",
    "StreamTotals",
    "Target",
    "Task",
    "TaskKind",
    "TaskReport",
    "required_streams",
    "resolve_task",
    "resolve_tasks",
]
