"""The kinds of tasks there are, and what holds of each of them."""

from enum import StrEnum


class TaskKind(StrEnum):
    """How a task's values are to be understood."""

    IMAGE = "image"  # intensities; (H, W, 3) or (H, W), uint8 or uint16
    DEPTH = "depth"  # distance; (H, W), `unit_m` metres a count, invalid values
    NORMAL = "normal"  # surface normal; (H, W, 3) uint8, n = (v - 127.5) / 127.5
    LABEL = "label"  # label map; (H, W) or (H, W, 3) colour code; lossless, always
    CLASS = "class"  # one integer; shape ()
    VECTOR = "vector"  # a few floats; shape (N,)
    EMBEDDING = "embedding"  # floats that stand for a picture, with loss; shape (N,)
    DISPARITY = "disparity"  # counts or pixels of disparity; (H, W); exact, invalid values
    FLOW = "flow"  # optical flow as the source has it; (H, W, C); exact
    ARRAY = "array"  # any other numbers a pixel; (H, W) or (H, W, C); exact
    SCALAR = "scalar"  # one number; shape ()
    TIME = "time"  # nanoseconds since 1970-01-01 UTC, int64; shape ()
    MATRIX = "matrix"  # numbers of a shape that is no picture's: poses, intrinsics, boxes
    TEXT = "text"  # UTF-8; native: its bytes, uint8 (N,)
    JSON = "json"  # one JSON value; native: the bytes of its text, uint8 (N,)
    BYTES = "bytes"  # any file: sound, point clouds; native: uint8 (N,)
    FEATURE = "feature"  # feature map of a frozen backbone; (C, h, w) float16 or float32


EXACT_KINDS = (TaskKind.LABEL, TaskKind.DISPARITY, TaskKind.FLOW, TaskKind.ARRAY)
"""Kinds of maps that every codec gives back bit for bit."""

BLOBS = (TaskKind.TEXT, TaskKind.JSON, TaskKind.BYTES)
"""Kinds whose native array is bytes, as many as each sample has."""

NUMBERS = (
    TaskKind.CLASS, TaskKind.VECTOR, TaskKind.SCALAR, TaskKind.TIME, TaskKind.MATRIX,
    TaskKind.FEATURE, TaskKind.EMBEDDING,
)  # fmt: skip
"""Kinds of numbers that are not one a pixel."""

SHAPED = (TaskKind.MATRIX, TaskKind.FEATURE)
"""Kinds of numbers whose task says of which shape."""

VECTORS = (TaskKind.VECTOR, TaskKind.EMBEDDING)
"""Kinds of as many numbers as `Task.channels` says."""

LOSSY_NUMBERS = (TaskKind.FEATURE, TaskKind.EMBEDDING)
"""Kinds of numbers that codecs may round, unless all is to be exact."""

LATER_KINDS = (*BLOBS, TaskKind.SCALAR, TaskKind.TIME, TaskKind.MATRIX, *LOSSY_NUMBERS)
"""Kinds that archives of format version 1 do not have."""

METRICS: dict[TaskKind, tuple[str, ...]] = dict.fromkeys(TaskKind, ("identical",)) | {
    TaskKind.IMAGE: ("psnr_db", "ms_ssim"),
    TaskKind.DEPTH: ("absrel", "rmse_m", "delta_1.25"),
    TaskKind.NORMAL: ("mean_angle_deg",),
    TaskKind.FEATURE: ("rel_sq_error", "cosine_distance"),
    TaskKind.EMBEDDING: ("cosine_distance", "rel_sq_error"),
}
"""Names of the distortion metrics that fit a kind."""
