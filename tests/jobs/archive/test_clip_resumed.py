"""Recordings in earnest: killed in the middle of a shard, on Ray, with another access."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsc._codecs.sequence import libaom
from dsc.errors import PlanMismatchError
from tests.clips import write_clip
from tests.jobs.faults import finished, tree, wait_for
from tests.places import ROOT

pytestmark = pytest.mark.skipif(not libaom.is_there(), reason="imagecodecs brings no known libaom")
ASKED: dict[str, Any] = {"target": "rgb=34dB", "shard_size": 16}
SCRIPT = """
import sys
from pathlib import Path
from tests.clips import write_clip

write_clip(Path(sys.argv[1]), target="rgb=34dB", shard_size=16)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return tree(write_clip(tmp_path_factory.mktemp("whole") / "out", **ASKED))


def test_killed_in_the_middle_of_a_shard_it_goes_on_to_the_same_bytes(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(out)], cwd=ROOT)
    wait_for(lambda: bool(finished(out)) or process.poll() is not None)
    process.kill()
    process.wait()
    assert not (out / "dsc.json").exists()
    with pytest.raises(PlanMismatchError, match=r'access: null -> "tree"'):
        write_clip(out, access="tree", **ASKED)
    assert 0 < len(finished(out)) < 3
    write_clip(out, **ASKED)
    assert tree(out) == whole


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_ray_workers_write_what_one_process_writes(
    ray_session: Any, whole: dict[str, bytes], tmp_path: Path
) -> None:
    assert tree(write_clip(tmp_path / "out", workers=2, **ASKED)) == whole
