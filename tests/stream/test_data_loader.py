"""A plain DataLoader over a stream: every loop an epoch, the same in all workers, exactly once."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import dsc
from dsc._stream.board import KEPT_LOOPS, Board, LoopStart, LoopWorker
from dsc._stream.order import OrderSpec
from dsc._stream.sample_stream import SampleStream
from dsc.errors import UsageError
from tests.archives import build_archive

SAMPLES = 61
KINDS = [
    {"num_workers": 0},
    {"num_workers": 1},
    {"num_workers": 2},
    {"num_workers": 3},
    {"num_workers": 2, "persistent_workers": True},
    {"num_workers": 3, "persistent_workers": True, "prefetch_factor": 4},
]
IN_WORKERS = KINDS[1:]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loader") / "a"
    build_archive(root, SAMPLES, 16, 5)
    return root


def open_stream(url: Path, **options: Any) -> SampleStream:
    given = {"batch_size": 4, "shuffle": True, "seed": 3, "decode": "bytes", **options}
    return dsc.stream(url, "rgb", **given)


def load(stream: Any, **options: Any) -> "DataLoader[Any]":
    return DataLoader(stream, batch_size=None, **options)


def batches(found: Any) -> list[list[int]]:
    return [batch["__index__"].tolist() for batch in found]


def take(found: Any, count: int) -> list[list[int]]:
    return [batch["__index__"].tolist() for _, batch in zip(range(count), found, strict=False)]


@pytest.fixture(scope="module")
def epochs(archive: Path) -> list[list[list[int]]]:
    """The batches of ten epochs, read without any loader."""
    stream = open_stream(archive)
    return [batches(stream) for _ in range(10)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_epochs_follow_each_other_as_without_a_loader(
    archive: Path, epochs: list[list[list[int]]], kind: dict[str, Any]
) -> None:
    stream = open_stream(archive)
    loader = load(stream, **kind)
    for epoch in range(3):
        assert batches(loader) == epochs[epoch]
        assert stream.epoch == epoch + 1


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_set_epoch_reaches_the_workers_of_the_next_loop(
    archive: Path, epochs: list[list[list[int]]], kind: dict[str, Any]
) -> None:
    stream = open_stream(archive)
    loader = load(stream, **kind)
    for epoch in (7, 7, 2, 3, 0):
        stream.set_epoch(epoch)
        assert batches(loader) == epochs[epoch]
    assert batches(loader) == epochs[1]


@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("kind", [{}, *KINDS[:2]], ids=str)
def test_an_epoch_set_in_mid_loop_is_the_next(
    archive: Path, epochs: list[list[list[int]]], kind: dict[str, Any], own: int
) -> None:
    stream = open_stream(archive, workers=own)
    loader = load(stream, **kind) if kind else stream
    for at, _ in enumerate(loader):
        if at == 3:
            stream.set_epoch(6)
    assert stream.state_dict()["position"] == 0
    assert batches(loader) == epochs[6]
    assert batches(loader) == epochs[7]
    stream.close()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_state_of_the_second_epoch_goes_on_exactly(
    archive: Path, epochs: list[list[list[int]]], kind: dict[str, Any]
) -> None:
    stream = open_stream(archive)
    loader = load(stream, **kind)
    batches(loader)
    begun = take(loader, 5)
    state = stream.state_dict(batches=5)
    assert (state["epoch"], state["position"]) == (1, 20)
    again = open_stream(archive, seed=99)
    other = load(again, **IN_WORKERS[-1])
    take(other, 2)
    again.load_state_dict(state)  # its workers live: place and order must reach them
    assert begun + batches(other) == epochs[1]
    assert batches(other) == epochs[2]


@pytest.mark.parametrize("kind", IN_WORKERS, ids=str)
def test_a_loop_that_is_left_early_is_an_epoch_for_all_workers(
    archive: Path, epochs: list[list[list[int]]], kind: dict[str, Any]
) -> None:
    stream = open_stream(archive)
    loader = load(stream, **kind)
    for epoch, count in enumerate((1, 5, 16, 2)):
        assert take(loader, count) == epochs[epoch][:count]
        assert stream.epoch == epoch + 1
    assert batches(loader) == epochs[4]
    stream.set_epoch(4)
    assert batches(loader) == epochs[4]


@pytest.mark.parametrize("kind", IN_WORKERS, ids=str)
def test_equal_seeds_before_each_loop_change_nothing(
    archive: Path, epochs: list[list[list[int]]], kind: dict[str, Any]
) -> None:
    loader = load(open_stream(archive), **kind)
    for epoch in range(3):
        torch.manual_seed(0)
        assert batches(loader) == epochs[epoch]


def test_two_loaders_take_turns_through_the_epochs_of_one_stream(
    archive: Path, epochs: list[list[list[int]]]
) -> None:
    stream = open_stream(archive)
    loaders = [load(stream, **kind) for kind in IN_WORKERS[1:4]]
    for epoch, loader in enumerate([*loaders, *loaders]):
        assert batches(loader) == epochs[epoch]
    assert batches(stream) == epochs[6]
    assert batches(loaders[2]) == epochs[7]


def test_two_loaders_at_once_are_each_in_one_epoch(
    archive: Path, epochs: list[list[list[int]]]
) -> None:
    stream = open_stream(archive)
    pairs = list(zip(load(stream, num_workers=2), load(stream, num_workers=3), strict=True))
    both = [[batch["__index__"].tolist() for batch in part] for part in zip(*pairs, strict=True)]
    assert sorted(both) == sorted(epochs[:2])


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
def test_ranks_keep_in_step(archive: Path, drop_last: bool, persistent: bool) -> None:
    ranks = [
        open_stream(archive, rank=rank, world=2, drop_last=drop_last, pad=False)
        for rank in range(2)
    ]
    loaders = [load(s, num_workers=2, persistent_workers=persistent) for s in ranks]
    for loader in loaders:
        take(loader, 3)
    for loader, stream in zip(loaders, ranks, strict=True):
        assert len(loader) == len(stream)
    seen = [[i for batch in batches(loader) for i in batch] for loader in loaders]
    given = [index for part in seen for index in part]
    assert len(set(given)) == len(given) == (56 if drop_last else SAMPLES)
    begun = [take(loader, 2) for loader in loaders]
    states = [stream.state_dict(batches=2) for stream in ranks]
    assert states[0] == states[1]
    assert states[0]["epoch"] == 2
    alone = open_stream(archive)
    alone.load_state_dict(states[0])
    rest = [i for batch in batches(alone) for i in batch]
    assert sorted(rest + [i for part in begun for batch in part for i in batch]) == [*range(61)]


@pytest.mark.parametrize("persistent", [pytest.param(False, marks=pytest.mark.slow), True])
def test_spawned_workers_share_the_epochs(
    archive: Path, epochs: list[list[list[int]]], persistent: bool
) -> None:
    stream = open_stream(archive)
    loader = load(
        stream, num_workers=2, multiprocessing_context="spawn", persistent_workers=persistent
    )
    if persistent:  # else each loop spawns its workers, which takes long
        assert take(loader, 1) == epochs[0][:1]
    stream.set_epoch(5)
    assert batches(loader) == epochs[5]
    assert batches(loader) == epochs[6]
    assert stream.state_dict(batches=3)["epoch"] == 6


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("before", [0, 7, 15, 16])
def test_a_stateful_loader_goes_on_in_the_second_epoch_and_beyond(
    archive: Path, epochs: list[list[list[int]]], workers: int, persistent: bool, before: int
) -> None:
    module = pytest.importorskip("torchdata.stateful_dataloader")
    options: dict[str, Any] = {"batch_size": None, "num_workers": workers}
    options["persistent_workers"] = persistent and workers > 0
    loader = module.StatefulDataLoader(open_stream(archive), **options)
    assert batches(loader) == epochs[0]
    found = iter(loader)
    begun = [next(found)["__index__"].tolist() for _ in range(before)]
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    again = module.StatefulDataLoader(open_stream(archive), **options)
    again.load_state_dict(state)
    assert begun + batches(again) == epochs[1]
    assert batches(again) == epochs[2]


def test_a_state_of_a_stateful_loader_at_the_end_of_an_epoch_leads_to_the_next(
    archive: Path, epochs: list[list[list[int]]]
) -> None:
    module = pytest.importorskip("torchdata.stateful_dataloader")
    loader = module.StatefulDataLoader(open_stream(archive), batch_size=None, num_workers=2)
    assert batches(loader) == epochs[0]
    again = module.StatefulDataLoader(open_stream(archive), batch_size=None, num_workers=2)
    again.load_state_dict(loader.state_dict())
    assert batches(again) == epochs[1]


def test_a_state_that_cannot_be_known_is_refused_with_the_line_that_works(archive: Path) -> None:
    stream = open_stream(archive)
    assert stream.state_dict(batches=0)["position"] == 0
    batches(load(stream, num_workers=1))
    for options in ({}, {"batches": 0}):
        with pytest.raises(UsageError, match=r"state_dict\(batches=step \+ 1\)"):
            stream.state_dict(**options)
    assert stream.state_dict(batches=len(stream))["position"] == SAMPLES
    stream.set_epoch(1)
    assert stream.state_dict()["epoch"] == 1


class Mapped(IterableDataset[Any]):
    """What people write around a stream."""

    def __init__(self, stream: SampleStream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Any]:
        yield from self.stream


class MadeInWorker(IterableDataset[Any]):
    """A dataset that opens its stream in the worker."""

    def __init__(self, url: Path) -> None:
        self.url = url
        self.stream: SampleStream | None = None

    def __iter__(self) -> Iterator[Any]:
        assert get_worker_info() is not None
        self.stream = self.stream or open_stream(self.url)
        yield from self.stream


@pytest.mark.parametrize("kind", IN_WORKERS, ids=str)
def test_a_dataset_around_a_stream_gives_its_epochs(
    archive: Path, epochs: list[list[list[int]]], kind: dict[str, Any]
) -> None:
    loader = load(Mapped(open_stream(archive)), **kind)
    assert [batches(loader) for _ in range(3)] == epochs[:3]


def test_a_stream_made_in_the_workers_counts_there(
    archive: Path, epochs: list[list[list[int]]]
) -> None:
    loader = load(MadeInWorker(archive), num_workers=2, persistent_workers=True)
    assert [batches(loader) for _ in range(3)] == epochs[:3]


def test_copies_count_their_epochs_by_themselves(
    archive: Path, epochs: list[list[list[int]]]
) -> None:
    stream = open_stream(archive)
    batches(load(stream, num_workers=1))
    for copied in (copy.deepcopy(stream), copy.copy(stream), pickle.loads(pickle.dumps(stream))):
        assert batches(load(copied, num_workers=1)) == epochs[1]
    assert batches(load(stream, num_workers=1)) == epochs[1]


def in_a_child(stream: SampleStream, answers: Any) -> None:
    try:
        answers.put(batches(load(stream, num_workers=1)))
    except UsageError as error:
        answers.put(str(error))
    stream.set_epoch(2)
    answers.put(batches(load(stream, num_workers=1)))


def test_a_process_that_did_not_make_the_stream_is_told_to(
    archive: Path, epochs: list[list[list[int]]]
) -> None:
    context = multiprocessing.get_context("fork")
    stream, answers = open_stream(archive), context.Queue()
    child = context.Process(target=in_a_child, args=(stream, answers))
    child.start()
    assert "call dsc.stream(...) in the process that iterates" in answers.get(timeout=60)
    assert answers.get(timeout=60) == epochs[2]
    child.join()
    assert stream.epoch == 0


COLLECTED = """
import gc, sys
from torch.utils.data import DataLoader, IterableDataset
import dsc
class Collect(IterableDataset):
    def __iter__(self):
        gc.collect()
        yield 1
class Owner:
    pass
def use(how):
    owner = Owner()
    owner.stream = dsc.stream(sys.argv[1], "rgb", 4, decode="bytes", workers=1)
    owner.batches = iter(owner.stream)
    if "cycle" in how:
        owner.itself = owner
    print(how, len(list(owner.batches)) if "whole" in how else next(owner.batches)["__index__"][0])
gc.disable()
for how in ("whole", "part", "whole, cycle", "part, cycle"):
    use(how)
    list(DataLoader(Collect(), num_workers=1))
"""


def test_workers_forked_after_a_stream_went_say_nothing(archive: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", COLLECTED, str(archive)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert ran.stderr == ""
    assert len(ran.stdout.splitlines()) == 4


# ---- the board by itself


SPEC = OrderSpec(seed=0, shuffle=1, lanes=1, window=8, chunk=4)
START = LoopStart(SPEC, 0, 0)


def worker(number: int, first: int, seed: int = 5, loop: int = 0, workers: int = 2) -> LoopWorker:
    return LoopWorker(number, workers, seed, loop, first + number)


def test_a_late_worker_finds_the_place_of_its_loop() -> None:
    board = Board(START)
    assert board.begin(worker(0, 1), 0, None).epoch == 0
    assert board.begin(worker(1, 7, seed=6), 0, None).epoch == 1  # another loop, begun backwards
    assert board.begin(worker(1, 1), 0, None).epoch == 0
    assert board.begin(worker(0, 7, seed=6), 0, None).epoch == 1
    assert board.next().epoch == 2


def test_a_loop_keeps_its_course_when_the_epoch_is_set_before_its_workers_come() -> None:
    board = Board(START)
    assert board.go_to(START._replace(epoch=9)) == 1
    assert board.begin(worker(0, 1), 0, None).epoch == 0
    assert board.begun() is None
    assert board.next().epoch == 9
    assert board.begin(worker(0, 3, seed=6), 1, None).epoch == 9


def test_processes_of_other_threads_may_start_in_between() -> None:
    board = Board(START)
    assert board.begin(worker(0, 1), 0, None).epoch == 0
    assert board.begin(worker(1, 2), 0, None).epoch == 0


def test_loops_that_cannot_be_told_apart_are_refused() -> None:
    board = Board(START)
    board.begin(worker(0, 1), 0, None)
    with pytest.raises(UsageError, match="cannot be told apart"):
        board.begin(worker(1, 9), 0, None)


def test_workers_that_were_sent_to_different_epochs_are_refused() -> None:
    board = Board(START)
    assert board.begin(worker(0, 1), 0, START._replace(epoch=4)).epoch == 4
    with pytest.raises(UsageError, match=r"sent to epoch 5, another one .* to epoch 4"):
        board.begin(worker(1, 1), 0, START._replace(epoch=5))
    assert board.next().epoch == 5


def test_a_board_stays_small() -> None:
    board = Board(START)
    for loop in range(3 * KEPT_LOOPS):  # more would outgrow its file if anything were kept on
        for number in range(64):
            assert board.begin(worker(number, 1, loop=loop, workers=64), None, None).epoch == loop
        board.go_to(board.next())


def test_workers_that_outlive_the_interpreter_end_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dsc._stream import own_workers

    iterator = own_workers._OwnIterator.__new__(own_workers._OwnIterator)
    iterator._pid = -1
    monkeypatch.setattr(own_workers, "os", None)  # as modules are when the interpreter ends
    iterator.__del__()
