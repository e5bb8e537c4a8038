"""The data contracts: typed, frozen values that go to JSON and back. Nothing here knows torch.

- `task`: kind, unit, range and invalid value of a task; its aliases. `stream`: which bitstreams
  decode which tasks. `manifest`: ``dsc.json``, and the records of shards.
- `quality`: 1 to 100 by task. `target`: a distortion or a bound in its place. `reached`: what came
  of it. `choice`: how codecs were chosen. `effort`: how long encoders may look for fewer bytes.
  `access`: how much of a recording one frame takes.
- `source`: what a source found. `sequence`: where a sample stands in a recording.
- `extractor`: the backbone that computed a task.
- `group`: samples that are coded together. `size`: bytes as people write them.
- `base`: what all share.
"""

from dsc._schemas.access import Access
from dsc._schemas.effort import Effort
from dsc._schemas.extractor import EMBEDDING, Extractor, Preprocessing
from dsc._schemas.kind import (
    BLOBS,
    EXACT_KINDS,
    LOSSY_NUMBERS,
    NUMBERS,
    SHAPED,
    VECTORS,
    TaskKind,
)
from dsc._schemas.manifest import (
    FORMAT_VERSION,
    FailedSample,
    FileRecord,
    Manifest,
    ShardRecord,
    StreamRecord,
    StreamTotals,
)
from dsc._schemas.quality import Quality
from dsc._schemas.sequence import SequencePlace
from dsc._schemas.source import LeftOut, Origin, SourceReport, TaskReport, WholeFile
from dsc._schemas.stream import CodecRecord, Stream, carrying_streams, required_streams
from dsc._schemas.target import Bound, BoundKind, Metric, Target
from dsc._schemas.task import FEATURE_DTYPES, DType, Task, resolve_task, resolve_tasks

__all__ = [
    "BLOBS",
    "EMBEDDING",
    "EXACT_KINDS",
    "FEATURE_DTYPES",
    "FORMAT_VERSION",
    "LOSSY_NUMBERS",
    "NUMBERS",
    "SHAPED",
    "VECTORS",
    "Access",
    "Bound",
    "BoundKind",
    "CodecRecord",
    "DType",
    "Effort",
    "Extractor",
    "FailedSample",
    "FileRecord",
    "LeftOut",
    "Manifest",
    "Metric",
    "Origin",
    "Preprocessing",
    "Quality",
    "SequencePlace",
    "ShardRecord",
    "SourceReport",
    "Stream",
    "StreamRecord",
    "StreamTotals",
    "Target",
    "Task",
    "TaskKind",
    "TaskReport",
    "WholeFile",
    "carrying_streams",
    "required_streams",
    "resolve_task",
    "resolve_tasks",
]
