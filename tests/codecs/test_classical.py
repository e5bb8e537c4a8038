"""Each classical codec keeps the promises of every codec, on every kind of task it takes."""

import pytest

from dsc._codecs.base import Codec
from dsc._codecs.registry import make_codec
from dsc._schemas import Task, TaskKind
from tests.codecs.conformance import CodecConformance

RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)
SHADING = Task(name="reshading", kind="image", dtype="uint8", invalid=(0,))
EDGES = Task(name="edge_texture", kind="image", dtype="uint16")
DEPTH = Task(name="depth_zbuffer", kind="depth", dtype="uint16", unit_m=1 / 512, invalid=(65535,))
KINECT = Task(name="kinect", kind="depth", dtype="uint16", unit_m=0.001, invalid=(0, 65535))
DEPTH8 = Task(name="depth", kind="depth", dtype="uint8", unit_m=1 / 25.5, invalid=(77,))
NORMAL = Task(name="normal", kind="normal", dtype="uint8", channels=3, invalid=(127,))
LABEL = Task(name="segment_semantic", kind="label", dtype="uint8")
LABEL16 = Task(name="instances", kind="label", dtype="uint16", invalid=(0,))
COLOURS = Task(name="colours", kind="label", dtype="uint8", channels=3)
CLASS = Task(name="class_object", kind="class", dtype="int64", channels=0)
VECTOR = Task(name="class_scene", kind="vector", dtype="float32", channels=365)
POSE = Task(name="pose", kind="vector", dtype="float64", channels=3)

LOSSY = (RGB, SHADING, DEPTH, KINECT, DEPTH8, NORMAL)
LABELS = (LABEL, LABEL16, COLOURS)
TASKS = {
    "png": (*LOSSY, EDGES, *LABELS),
    "jpeg": LOSSY,
    "webp": (*LOSSY, *LABELS),
    "avif": (*LOSSY, EDGES),
    "av1": (*LOSSY, EDGES),
    "av1-psnr": (*LOSSY, EDGES),
    "av1-fast": (*LOSSY, EDGES),
    "jpeg-bare": LOSSY,
    "webp-bare": (*LOSSY, *LABELS),
    "av1-small": (*LOSSY, EDGES),
    "jxl": (*LOSSY, EDGES, *LABELS),
    "jxl-lossless": (*LOSSY, EDGES, *LABELS),
    "vector": (CLASS, VECTOR, POSE),
}


BARE = ("av1", "av1-psnr", "av1-fast", "jpeg-bare", "webp-bare", "av1-small")  # without container


class TestClassical(CodecConformance):
    @pytest.fixture(params=[codec_id for codec_id in TASKS if codec_id not in BARE])
    def codec(self, request):
        return make_codec(request.param, TASKS[request.param])

    def is_exact(self, codec: Codec, task: Task) -> bool:
        return codec.id in ("png", "jxl-lossless", "vector") or task.kind is TaskKind.LABEL


class TestWithoutContainer(TestClassical):
    sees_every_cut = False  # no box says how long the frame is; the archive's checksums see a cut

    @pytest.fixture(params=BARE)
    def codec(self, request):
        return make_codec(request.param, TASKS[request.param])
