"""A state is a few integers, goes on exactly, and is refused when it cannot be honoured."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import dsc
from dsc._stream.sample_stream import SampleStream
from dsc.errors import StateMismatchError
from tests.archives import build_archive


def open_stream(url: Path, **options: Any) -> SampleStream:
    return dsc.stream(
        url, "rgb", **{"batch_size": 4, "shuffle": True, "decode": "bytes", **options}
    )


def batches(found: Any) -> list[list[int]]:
    return [batch["__index__"].tolist() for batch in found]


def take(found: Any, count: int) -> list[list[int]]:
    return [batch["__index__"].tolist() for _, batch in zip(range(count), found, strict=False)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("state") / "a"
    build_archive(root, 61, 16, 5)
    return root


@pytest.fixture(scope="module")
def whole(archive: Path) -> list[list[int]]:
    return batches(open_stream(archive))


def test_a_state_is_a_few_integers(archive: Path) -> None:
    stream = open_stream(archive)
    take(stream, 3)
    state = stream.state_dict()
    assert all(type(value) is int for value in state.values())
    assert len(json.dumps(state)) < 300
    assert state["position"] == 12


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_workers_give_the_same_batches_and_the_same_state(
    archive: Path, whole: list[list[int]], workers: int
) -> None:
    stream = open_stream(archive, workers=workers)
    begun = take(stream, 5)
    state = stream.state_dict()
    stream.close()
    assert begun == whole[:5]
    other = open_stream(archive, workers=(workers + 2) % 4)
    other.load_state_dict(state)
    assert batches(other) == whole[5:]
    assert other.epoch == 1
    other.close()


def test_workers_are_kept_from_epoch_to_epoch(archive: Path) -> None:
    alone, helped = open_stream(archive), open_stream(archive, workers=2)
    for _ in range(3):
        assert batches(helped) == batches(alone)
    assert helped.report.samples == alone.report.samples == 3 * 61
    helped.close()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_plain_data_loader_gives_the_same_batches(
    archive: Path, whole: list[list[int]], workers: int
) -> None:
    stream = open_stream(archive)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    assert len(loader) == len(whole)
    begun = take(loader, 6)
    assert begun == whole[:6]
    other = open_stream(archive)
    other.load_state_dict(stream.state_dict(batches=6))
    assert batches(DataLoader(other, batch_size=None, num_workers=(workers + 1) % 3)) == whole[6:]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("before", [0, 1, 5, 16])
def test_a_stateful_data_loader_goes_on_exactly(
    archive: Path, whole: list[list[int]], workers: int, before: int
) -> None:
    module = pytest.importorskip("torchdata.stateful_dataloader")
    loader = module.StatefulDataLoader(open_stream(archive), batch_size=None, num_workers=workers)
    found = iter(loader)
    begun = [next(found)["__index__"].tolist() for _ in range(before)]
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    again = module.StatefulDataLoader(open_stream(archive), batch_size=None, num_workers=workers)
    again.load_state_dict(state)
    assert begun + batches(again) == whole


def test_a_state_at_the_end_of_an_epoch_leads_to_the_next(archive: Path) -> None:
    stream = open_stream(archive)
    batches(stream)
    second = open_stream(archive)
    second.load_state_dict(stream.state_dict())
    assert second.epoch == 1
    assert batches(second) == batches(stream)


def test_the_epoch_that_a_state_is_in_is_not_begun_again(
    archive: Path, whole: list[list[int]]
) -> None:
    stream = open_stream(archive)
    take(stream, 7)
    other = open_stream(archive)
    other.load_state_dict(stream.state_dict())
    other.set_epoch(0)
    assert batches(other) == whole[7:]


KILLED = """
import json, multiprocessing, os, signal, sys
import dsc
stream = dsc.stream(sys.argv[1], "rgb", 1, shuffle=True, decode="bytes", workers=2)
seen, died = [], ""
try:
    for batch in stream:
        seen += batch["__index__"].tolist()
        if len(seen) == 5:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
except (dsc.DscError, RuntimeError) as error:  # torch's signal handler may raise in the loop itself
    died = str(error)
print(json.dumps([seen, stream.state_dict(), died]))
"""


def test_a_killed_worker_is_an_error_and_the_state_loses_nothing(archive: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(archive)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seen, state, died = json.loads(ran.stdout)
    assert "worker" in died
    other = open_stream(archive, batch_size=1)
    other.load_state_dict(state)
    rest = [index for batch in other for index in batch["__index__"].tolist()]
    alone = open_stream(archive, batch_size=1)
    assert seen + rest == [index for batch in alone for index in batch["__index__"].tolist()]
    assert len(seen) < 61


def test_a_state_of_other_data_is_refused_with_both_sizes(archive: Path, tmp_path: Path) -> None:
    build_archive(tmp_path / "b", 50, 16, 5)
    stream = open_stream(archive)
    take(stream, 2)
    with pytest.raises(StateMismatchError, match=r"had 61 samples, this stream has 50"):
        open_stream(tmp_path / "b").load_state_dict(stream.state_dict())


def test_a_state_of_another_version_is_refused(archive: Path) -> None:
    state = open_stream(archive).state_dict()
    with pytest.raises(StateMismatchError, match="version 2, this dsc reads version 1"):
        open_stream(archive).load_state_dict(state | {"version": 2})
    with pytest.raises(StateMismatchError, match="not the state_dict of a stream"):
        open_stream(archive).load_state_dict({})


@pytest.mark.parametrize("change", [{"lanes": 0}, {"chunk": -1}, {"position": "x"}, {"odd": 1}])
def test_a_state_that_was_edited_is_refused(archive: Path, change: dict[str, Any]) -> None:
    state: dict[str, Any] = open_stream(archive).state_dict()
    with pytest.raises(StateMismatchError, match=f"state_dict: {next(iter(change))}"):
        open_stream(archive).load_state_dict(state | change)


def test_the_state_of_one_worker_is_refused_elsewhere(archive: Path) -> None:
    state = open_stream(archive).state_dict() | {"worker": 1, "workers": 2, "batches": 3}
    with pytest.raises(StateMismatchError, match="state of worker 1 of 2"):
        open_stream(archive).load_state_dict(state)


def test_other_tasks_may_go_on_from_a_state(archive: Path, whole: list[list[int]]) -> None:
    stream = open_stream(archive)
    take(stream, 4)
    other = dsc.stream(archive, "depth", 4, decode="bytes", missing="none")
    other.load_state_dict(stream.state_dict())
    assert batches(other) == whole[4:]
