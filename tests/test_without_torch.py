"""What the plain install does, which has no torch: everything but networks and tensors."""

import subprocess
import sys
from pathlib import Path

from tests.archives import build_archive

HIDDEN = "import sys\nsys.modules['torch'] = None\n"
COMMANDS = (
    HIDDEN
    + """
from pathlib import Path

import numpy as np

import dsc
from dsc._cli import main

def run(*words):
    sys.argv = ["dsc", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words

tasks = "rgb,depth,normals,segment_semantic,class_scene"
run("compress", "taskonomy", "--views", "5", "--size", "48", "--tasks", tasks, "--out", "a")
run("ls", "a")
run("info", "a")
run("verify", "a", "--deep")
run("fetch", "a", "--tasks", "depth", "--out", "depth")
run("export", "a", "--out", "files")
run("view", "a", "--out", "a.html")
assert {"a", "depth", "files", "a.html"} <= {path.name for path in Path().iterdir()}
opened = dsc.open("a")
seen = 0
for batch in dsc.stream("a", batch_size=2, shuffle=True, output="numpy"):
    for at, index in enumerate(batch["__index__"]):
        for name, array in opened[int(index)].items():
            np.testing.assert_array_equal(batch[name][at], array)
        seen += 1
assert seen == 5
bound = dict(tasks="rgb,depth", codec="av1", max_error="depth=2%")
dsc.compress("taskonomy", "bounded", sample=2, size=32, **bound)
assert len(dsc.open("bounded")[1]["depth"]) == 32
"""
)
ERRORS = (
    HIDDEN
    + """
import dsc
import dsc.codecs
from dsc._codecs.registry import NETWORKS, distinct_codecs
from dsc.errors import MissingPackageError

def message(call):
    try:
        call()
    except MissingPackageError as error:
        assert str(error).count("pip install 'dsc[torch]'") == 1, error
        return str(error)

asked = {name: message(lambda: dsc.codecs.codec_class(name)) for name in dsc.codecs.CODECS}
assert {name for name, said in asked.items() if said} == set(NETWORKS), asked
assert asked["independent"].startswith("codec 'independent' needs torch, which is not installed")
assert not set(NETWORKS) & set(distinct_codecs())
for name in ("LatentBatch", "LatentEmbedding"):
    assert message(lambda: getattr(dsc, name)).startswith(f"dsc.{name} needs torch")
for name in ("replay", "training"):
    assert message(lambda: __import__(f"dsc.{name}")).startswith(f"dsc.{name} needs torch")
assert "or stream with output='numpy'" in message(lambda: dsc.stream("a"))
embedding = message(lambda: dsc.append("a", embed="efficientnet-lite0"))
assert embedding.startswith("a backbone needs torch") and "'dsc[backbones]'" in embedding
stream = dsc.stream("a", batch_size=2, output="numpy", workers=1)
assert "or stream with workers=0" in message(lambda: next(iter(stream)))
buffer = dsc.ReplayBuffer("b.dscb", "1MB", codec="raw")
import numpy as np
buffer.add(np.zeros((3, 8, 8, 3), np.uint8), np.arange(3))
assert buffer[1][0].shape == (8, 8, 3)
exemplars = buffer.dataset()
assert "or draw with output='numpy'" in message(lambda: exemplars.draws(2))
images, labels = next(exemplars.draws(2, output="numpy"))
assert (images.shape, labels.dtype) == ((2, 8, 8, 3), np.int64)
"""
)


UNUSED = """
import sys

import dsc

dsc.compress("taskonomy", "a", sample=2, size=32, tasks="rgb,depth,segment_semantic")
assert len(dsc.open("a")[1]["rgb"]) == 32
assert len(list(dsc.stream("a", batch_size=1, output="numpy"))) == 2
assert "torch" not in sys.modules
for batch in dsc.stream("a", batch_size=2):
    assert type(batch["rgb"]).__name__ == "Tensor"
dsc.compress("taskonomy", "learned", sample=1, size=32, tasks="rgb", codec="independent")
"""
LEARNED = (
    HIDDEN
    + """
import dsc
from dsc._pipeline.read.verify import verify_deep
from dsc.errors import MissingPackageError

opened = dsc.open("learned")
assert len(opened) == 1
stream = dsc.stream("learned", batch_size=1, output="numpy", on_error="skip")
for call in (lambda: opened[0], lambda: verify_deep("learned"), lambda: list(stream)):
    try:
        found = call()
    except MissingPackageError as error:
        assert "codec 'independent' needs torch" in str(error)
    else:
        raise AssertionError(found)
"""
)


def run(program: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-4000:]


def test_an_archive_is_written_checked_fetched_read_and_streamed(tmp_path: Path) -> None:
    run(COMMANDS, tmp_path)


def test_where_torch_is_installed_it_is_loaded_for_tensors_alone(tmp_path: Path) -> None:
    run(UNUSED, tmp_path)
    run(LEARNED, tmp_path)  # and where it is not, that is no damage


def test_what_needs_torch_says_how_to_get_it(tmp_path: Path) -> None:
    build_archive(tmp_path / "a", 4)
    run(ERRORS, tmp_path)
