"""Windows of frames in streams: what `dsc.open` gives, in the order of the stream."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc import transforms
from dsc._sources import registry
from dsc.errors import UsageError
from tests.walks import PLACES

N = len(PLACES) + 2


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("walks") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "walks", "tests.walks:WalksSource")
        dsc.compress("walks", out, n=N, codec="png", shard_size=10, pack=4)
    return out


def stream(url: Path, tasks: str = "rgb,depth,action", **options: Any) -> Any:
    given = {"batch_size": 5, "output": "numpy", "threads": 0, "missing": "none"} | options
    return dsc.stream(url, tasks, **given)


WINDOWS: tuple[Any, ...] = ((-2, 0, 1), ("-40ms", 0), {"rgb": (-1, 0), "action": (0, 1, 5)})


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("edges", ["clamp", "missing", "skip"])
@pytest.mark.parametrize("shuffle", [False, True, "group"])
def test_a_stream_has_the_windows_of_a_dataset(
    walks: Path, window: Any, edges: str, shuffle: Any
) -> None:
    asked = {"window": window, "window_edges": edges}
    data = dsc.open(walks, "rgb,depth,action", **asked)
    index = {int(at): n for n, at in enumerate(data.indices)}
    found = []
    for batch in stream(walks, shuffle=shuffle, **asked):
        for row, at in enumerate(batch["__index__"].tolist()):
            found.append(at)
            for name, value in data[index[at]].items():
                np.testing.assert_equal(batch[name][row], value)
    assert sorted(found) == sorted(index)


def test_only_some_of_the_samples_have_windows_of_all_frames(walks: Path) -> None:
    few = stream(walks, where="frame == 105 or frame == 3", window=(-1, 0, 1))
    batch = next(iter(few))
    assert batch["__frames__"].tolist() == [[2, 3, -1], [104, 105, 106]]
    assert few.samples == 2
    left = stream(walks, window=(0, 1), window_edges="skip")
    assert left.left_out == N - left.samples > 0


def test_tensors_have_channels_before_rows(walks: Path) -> None:
    batch = next(iter(stream(walks, output="torch", window=(0, 1), missing="skip")))
    assert batch["rgb"].shape == (5, 2, 3, 16, 24)
    assert batch["depth"].shape == (5, 2, 16, 24)
    assert batch["__window__"].shape == (5, 2)
    listed = next(iter(stream(walks, "rgb", output="torch", window=(0, 1), mixed_sizes="list")))
    assert listed["rgb"][0].shape == (2, 3, 16, 24)


def test_workers_ranks_threads_and_states(walks: Path) -> None:
    asked = {"window": (-1, 0), "shuffle": True, "seed": 4, "lanes": 2}

    def frames(batches: Any) -> list[Any]:
        return [
            row
            for batch in batches
            for row in zip(
                batch["__index__"].tolist(), batch["rgb"][:, :, 0, 0, 0].tolist(), strict=True
            )
        ]

    whole = frames(stream(walks, **asked))
    assert frames(stream(walks, **asked, workers=2)) == whole
    assert frames(stream(walks, **asked, threads=2)) == whole
    ranks = [frames(stream(walks, **asked, rank=r, world=2, batch_size=2)) for r in (0, 1)]
    assert sorted(map(str, ranks[0] + ranks[1])) == sorted(map(str, whole))
    opened = stream(walks, **asked)
    loop = iter(opened)
    begun = frames([next(loop), next(loop)])
    again = stream(walks, **asked)
    again.load_state_dict(opened.state_dict())
    assert begun + frames(again) == whole


def test_a_transform_moves_all_frames_alike(walks: Path) -> None:
    crop = transforms.Compose([transforms.RandomCrop(8), transforms.HorizontalFlip()])
    asked = {"window": (-1, 0), "where": "frame > 100"}
    for batch in stream(walks, "rgb,intrinsics", shuffle=True, transform=crop, **asked):
        assert batch["rgb"].shape[1:] == (2, 8, 8, 3)
        assert (batch["rgb"][:, 0, ..., 1:] == batch["rgb"][:, 1, ..., 1:]).all()
        assert (batch["intrinsics"][:, 0] == batch["intrinsics"][:, 1]).all()


def test_damage_of_a_frame_is_that_of_the_samples_that_have_it(walks: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(walks, tmp_path / "a")
    tar = sorted((tmp_path / "a").glob("**/*rgb*.tar"))[0]
    data = bytearray(tar.read_bytes())
    data[len(data) // 3] ^= 0xFF
    tar.write_bytes(data)
    plain = stream(tmp_path / "a", "rgb", on_error="skip")
    whole = {int(at) for batch in plain for at in batch["__index__"]}
    hurt = set(range(N)) - whole
    assert hurt
    opened = stream(tmp_path / "a", "rgb", on_error="skip", window=(-1, 0), window_edges="missing")
    kept = {int(at) for batch in opened for at in batch["__index__"]}
    both = {at for at in hurt} | {at + 1 for at in hurt if at + 1 < 10 and at != 3}
    assert kept == set(range(N)) - both


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"window": (0.5,)}, "0.5 is no offset"),
        ({"window": (0, 1), "decode": "bytes"}, "window= goes with decode='pixels'"),
        ({"window": (0, 1), "mixed_sizes": "pad"}, "does not go with mixed_sizes='pad'"),
        ({"window": (0, 1), "window_edges": "wrap"}, "window_edges='wrap'"),
        (
            {"window": 8, "shuffle": True, "shuffle_window": 8},
            "means shuffle_window, which is given",
        ),
        ({"window": {"normal": (0, 1)}}, "window of 'normal', which is not read"),
    ],
)
def test_what_cannot_be_is_refused(walks: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        stream(walks, "rgb", **options)


def test_a_whole_number_is_the_window_of_the_shuffle(walks: Path) -> None:
    assert stream(walks, shuffle=True, window=8).state_dict()["window"] == 8
    assert stream(walks, shuffle=True, shuffle_window=8).state_dict()["window"] == 8
