import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.format import random_keys
from dsc._replay.policies.base import ExemplarTable, PolicyChoice, Reservoir, State
from dsc._replay.policies.rate_adaptive import RateAdaptive
from dsc._schemas import Task, TaskKind
from dsc.errors import DscError, StateMismatchError, UsageError
from tests.places import ROOT
from tests.replay.kinds import KINDS, PICTURES, RGB, Kind, same
from tests.replay.pictures import pictures

DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))
CLASSES = Task(name="semantic", kind=TaskKind.LABEL, dtype="uint8")


def filled(path: Path, count: int = 60, kind: Kind = PICTURES, **options: Any) -> ReplayBuffer:
    buffer = ReplayBuffer(path, **({"budget": "6kB"} | kind.options | options))
    labels = np.arange(count) % 5
    features = np.random.default_rng(0).normal(size=(count, 4))
    buffer.add(kind.samples(count), labels, features=features)
    return buffer


def index_bytes(path: Path) -> int:
    """Count everything in the file that grows with exemplars, as HDF5 sees it."""
    with h5py.File(path) as file:
        state = sum(d.nbytes for d in file["state"].values()) if "state" in file else 0
        flat = sum(d.nbytes for d in file.values() if isinstance(d, h5py.Dataset))
        return int(flat + state - file["meta"].nbytes)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(["reservoir", "class-balanced", "herding", "rate-adaptive"]),
    st.lists(st.lists(st.integers(-1, 70_000), max_size=25), min_size=1, max_size=4),
    st.integers(900, 6000),
    st.booleans(),
)
def test_a_buffer_is_never_over_budget_and_counts_all_that_is_in_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    kind: Kind,
    policy: str,
    tasks: list[list[int]],
    budget: int,
    keyed: bool,
) -> None:
    path = tmp_path_factory.mktemp("buffer") / "b.h5"
    with ReplayBuffer(path, budget=budget, policy=policy, **kind.options) as buffer:
        for number, labels in enumerate(tasks):
            keys = [f"{number}/{at}" for at in range(len(labels))] if keyed else None
            features = np.random.default_rng(number).normal(size=(len(labels), 3))
            samples = kind.samples(len(labels), 8, number)
            buffer.add(samples, labels, keys=keys, features=features)
            assert buffer.nbytes <= budget
            assert buffer.nbytes == index_bytes(path)
            assert set(buffer.targets) <= {label for task in tasks for label in task}
        offered = sum(map(len, tasks))
        assert buffer.seen == offered
        assert bool(len(buffer)) == bool(offered)


def test_what_is_read_is_what_the_codec_gave_for_that_label_and_key(tmp_path: Path) -> None:
    images, labels = pictures(30), np.random.default_rng(1).permutation(30) - 7
    buffer = ReplayBuffer(tmp_path / "b.h5", budget="1MB", codec="png")
    buffer.add(images, labels, keys=[f"picture {at}" for at in range(30)])
    assert sorted(buffer.targets) == sorted(labels)
    for (image, label), key in zip(buffer, buffer.keys, strict=True):
        at = int(key.split()[1])
        assert label == labels[at]
        assert np.array_equal(image, images[at])
        assert type(label) is int


def test_reopened_exemplars_decode_to_the_same_bits(tmp_path: Path, kind: Kind) -> None:
    with filled(tmp_path / "b.h5", 300, kind) as buffer:
        before, targets = [image for image, _ in buffer], buffer.targets
    again = ReplayBuffer.open(tmp_path / "b.h5")
    assert again.targets.tolist() == targets.tolist()
    assert all(same(a, b) for a, (b, _) in zip(before, again, strict=True))


def test_old_exemplars_stay_to_the_bit_while_new_ones_come(tmp_path: Path, kind: Kind) -> None:
    with filled(tmp_path / "b.h5", 40, kind, budget="1MB") as buffer:
        before = [sample for sample, _ in buffer]
        for number in range(2):  # the first of them is enough to learn from
            buffer.add(kind.samples(300, seed=number + 9), np.full(300, 9))
        again = buffer.__getitems__(range(40))
        assert all(same(a, b) for a, (b, _) in zip(before, again, strict=True))


def test_a_batch_is_what_its_exemplars_are_one_by_one(tmp_path: Path, kind: Kind) -> None:
    buffer = filled(tmp_path / "b.h5", 300, kind)
    order = [3, 0, -1, 3]
    batch = buffer.__getitems__(order)
    for (image, label), index in zip(batch, order, strict=True):
        assert same(image, buffer[index][0])
        assert label == buffer[index][1]


def test_an_index_beyond_the_end_is_an_index_error(tmp_path: Path) -> None:
    buffer = filled(tmp_path / "b.h5")
    with pytest.raises(IndexError, match=str(len(buffer))):
        buffer[len(buffer)]


@pytest.mark.parametrize("policy", ["reservoir", "class-balanced", "herding", "rate-adaptive"])
def test_a_resumed_buffer_equals_an_uninterrupted_one_to_the_byte(
    tmp_path: Path, kind: Kind, policy: str
) -> None:
    options: dict[str, Any] = {"budget": "4kB", "policy": policy, "quality": 60, "seed": 5}
    options |= kind.options
    whole = ReplayBuffer(tmp_path / "whole.h5", **options)
    for task, count in enumerate([40, 300, 40]):
        features = np.random.default_rng(0).normal(size=(count, 4))
        labels, samples = np.arange(count) % 2 + 2 * task, kind.samples(count, seed=task)
        whole.add(samples, labels, features=features)
        with ReplayBuffer(tmp_path / "parts.h5", **options) as part:
            part.add(samples, labels, features=features)
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "parts.h5").read_bytes()


def test_adding_in_parts_keeps_what_adding_at_once_would(tmp_path: Path, kind: Kind) -> None:
    samples, labels, keys = kind.samples(90), np.arange(90) % 3, [str(at) for at in range(90)]
    whole = ReplayBuffer(tmp_path / "whole.h5", budget="4kB", **kind.options)
    whole.add(samples, labels, keys=keys)
    parts = ReplayBuffer(tmp_path / "parts.h5", budget="4kB", **kind.options)
    for start in range(0, 90, 20):
        several = slice(start, start + 20)
        parts.add(kind.some(samples, several), labels[several], keys=keys[several])
    assert sorted(parts.keys) == sorted(whole.keys)
    assert len(whole) < 90


def test_random_keys_are_one_sequence_for_each_seed() -> None:
    whole = random_keys(3, 0, 1000)
    assert np.array_equal(random_keys(3, 600, 400), whole[600:])
    assert len(set(whole.tolist()) & set(random_keys(4, 0, 1000).tolist())) < 3
    assert whole[:3].tolist() == [2035154313, 2334437921, 3648251838]


class Newest(Reservoir):
    name = "newest"

    def select(self, rows: ExemplarTable, budget: int, state: State) -> PolicyChoice:
        kept = np.cumsum(rows.costs[::-1]) <= budget
        return PolicyChoice(np.flatnonzero(kept[::-1]), {})


def test_a_policy_of_ones_own_decides_within_the_budget(tmp_path: Path) -> None:
    class Greedy(Newest):
        def select(self, rows: ExemplarTable, budget: int, state: State) -> PolicyChoice:
            return PolicyChoice(np.arange(len(rows.labels)), {})

    buffer = ReplayBuffer(tmp_path / "b.h5", budget="4kB", codec="webp", policy=Newest())
    for label in range(3):
        buffer.add(pictures(50), np.full(50, label))
    assert set(buffer.targets) == {2}
    buffer.close()
    with pytest.raises(UsageError, match="object of your own"):
        ReplayBuffer(tmp_path / "b.h5")
    greedy = ReplayBuffer(tmp_path / "c.h5", budget="4kB", policy=Greedy())
    with pytest.raises(DscError, match="error of the policy"):
        greedy.add(pictures(200), np.zeros(200, int))
    assert len(greedy) == 0


def test_a_budget_that_counts_the_decoder_holds_with_it(tmp_path: Path) -> None:
    task = Task(name="semantic", kind=TaskKind.LABEL, dtype="uint8")
    buffer = ReplayBuffer(
        tmp_path / "b.h5", budget=127_000, codec="label-context", tasks=[task], count_decoder=True
    )
    masks = np.random.default_rng(0).integers(0, 3, (30, 16, 16)).astype(np.uint8)
    buffer.add({"semantic": masks}, np.arange(30))
    assert 0 < len(buffer) < 30
    assert buffer.nbytes_with_decoder <= 127_000


def test_a_reader_goes_on_with_the_file_it_opened(tmp_path: Path, kind: Kind) -> None:
    writer = filled(tmp_path / "b.h5", kind=kind)
    reader = ReplayBuffer.open(tmp_path / "b.h5")
    before = [image for image, _ in reader]
    writer.add(kind.samples(300, seed=9), np.full(300, 77))
    assert all(same(a, b) for a, (b, _) in zip(before, reader, strict=True))
    assert 77 not in reader.targets
    reader.reload()
    assert 77 in reader.targets


def test_reading_refuses_to_write(tmp_path: Path) -> None:
    filled(tmp_path / "b.h5").close()
    reader = ReplayBuffer.open(tmp_path / "b.h5")
    with pytest.raises(UsageError, match="reading only"):
        reader.add(pictures(1), [0])


def read_all(buffer: ReplayBuffer) -> list[int]:
    return [int(image.sum()) + label for image, label in buffer]


def test_several_processes_read_at_once_while_it_is_open_for_writing(tmp_path: Path) -> None:
    writer = filled(tmp_path / "b.h5")
    expected = [int(image.sum()) + label for image, label in writer]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(read_all, [writer, ReplayBuffer.open(tmp_path / "b.h5")] * 2)
    assert found == [expected] * 4


def test_a_forked_child_cannot_write(tmp_path: Path) -> None:
    buffer = filled(tmp_path / "b.h5")
    generation = buffer.generation

    def write() -> None:
        with pytest.raises(UsageError, match="reading only"):
            buffer.add(pictures(1), [0])

    child = multiprocessing.get_context("fork").Process(target=write)
    child.start()
    child.join()
    assert child.exitcode == 0
    buffer.add(pictures(1), [0])
    assert buffer.generation == generation + 1


def test_a_data_loader_with_workers_gives_every_exemplar_once(tmp_path: Path) -> None:
    from torch.utils.data import DataLoader

    buffer = filled(tmp_path / "b.h5")
    loader = DataLoader(buffer, batch_size=7, num_workers=2, multiprocessing_context="fork")
    batches: list[Any] = list(loader)
    images = np.concatenate([batch[0].numpy() for batch in batches])
    assert (
        np.concatenate([batch[1].numpy() for batch in batches]).tolist() == buffer.targets.tolist()
    )
    assert all(np.array_equal(a, b) for a, (b, _) in zip(images, buffer, strict=True))
    buffer.add(pictures(3), [1, 2, 3])  # the workers took neither the lock nor the file away


def test_a_worker_of_an_older_state_is_told_so(tmp_path: Path) -> None:
    buffer = filled(tmp_path / "b.h5")
    sent = pickle.dumps(buffer)
    buffer.add(pictures(3), [1, 2, 3])
    with pytest.raises(StateMismatchError, match="DataLoader"):
        len(pickle.loads(sent))


def test_a_transaction_is_one_update(tmp_path: Path, kind: Kind) -> None:
    buffer = filled(tmp_path / "b.h5", kind=kind, budget="20kB")
    other, count = ReplayBuffer.open(tmp_path / "b.h5"), len(buffer)
    with buffer.transaction():
        for step in range(3):
            buffer.add(kind.samples(2, seed=step), [8, 9])
            assert len(buffer) == count + 2 * (step + 1)
            assert buffer[len(buffer) - 1][1] in (8, 9)
        other.reload()
        assert len(other) == count
    other.reload()
    assert len(other) == count + 6
    assert other.generation == buffer.generation == 2


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path, kind: Kind) -> None:
    buffer = filled(tmp_path / "b.h5", kind=kind, cache="1MB")
    before, data = [image for image, _ in buffer], (tmp_path / "b.h5").read_bytes()

    def fail() -> None:
        with buffer.transaction():
            buffer.add(kind.samples(300, seed=4), np.full(300, 50))
            list(buffer)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert (tmp_path / "b.h5").read_bytes() == data
    assert 50 not in buffer.targets
    assert all(same(a, b) for a, (b, _) in zip(before, buffer, strict=True))
    with buffer.transaction():
        buffer.add(kind.samples(300, seed=5), np.full(300, 51))
        kept = [image for image, _ in buffer]
    again = ReplayBuffer.open(tmp_path / "b.h5")
    assert all(same(a, b) for a, (b, _) in zip(kept, again, strict=True))


def test_a_smaller_budget_holds_at_once(tmp_path: Path, kind: Kind) -> None:
    buffer = filled(tmp_path / "b.h5", 300, kind, policy="class-balanced")
    buffer.resize("2kB")
    assert buffer.nbytes <= buffer.budget == 2000
    assert np.ptp(np.bincount(buffer.targets)) <= 2


def test_samples_of_several_tasks_come_back_with_what_each_had(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    images = pictures(12, 32)
    depth = [rng.integers(500, 4000, (32, 32)).astype(np.uint16) for _ in range(12)]
    masks = [None if at % 3 else np.full((32, 32), at, np.uint8) for at in range(12)]
    tasks = [RGB, DEPTH, CLASSES]
    codec = "rgb=png,depth=png,semantic=png"
    buffer = ReplayBuffer(tmp_path / "b.h5", budget="1MB", codec=codec, tasks=tasks)
    given = {"rgb": images, "depth": depth, "semantic": masks}
    buffer.add(given, np.arange(12))
    assert buffer.nbytes == index_bytes(tmp_path / "b.h5")
    for sample, label in ReplayBuffer.open(tmp_path / "b.h5"):
        assert np.array_equal(sample["rgb"], images[label])
        assert np.array_equal(sample["depth"], depth[label])
        assert ("semantic" in sample) == (masks[label] is not None)


def test_exemplars_of_several_codecs_live_in_one_buffer(tmp_path: Path) -> None:
    with filled(tmp_path / "b.h5", count=20, budget="1MB", codec="webp", quality=30) as buffer:
        webp = [image for image, _ in buffer]
    with ReplayBuffer(tmp_path / "b.h5", codec="png") as buffer:
        buffer.add(pictures(10, seed=7), np.full(10, 9))
        assert buffer.report().slots == {"webp q30": 20, "png q50": 10}
        assert all(np.array_equal(a, buffer[at][0]) for at, a in enumerate(webp))
        png = [image for image, label in buffer if label == 9]
        assert sorted(map(np.sum, png)) == sorted(map(np.sum, pictures(10, seed=7)))


def test_weights_are_kept_in_the_file_and_counted_apart(tmp_path: Path) -> None:
    tasks = [RGB, CLASSES]
    options: dict[str, Any] = {"tasks": tasks, "codec": "rgb=webp"}  # label maps: label-context
    with ReplayBuffer(tmp_path / "b.h5", budget="1MB", **options) as buffer:
        buffer.add({"rgb": pictures(2), "semantic": np.zeros((2, 16, 16), np.uint8)}, [0, 1])
        decoder_bytes = buffer.nbytes_with_decoder - buffer.nbytes
        assert decoder_bytes == buffer.report().decoder_bytes > 100_000
    again = ReplayBuffer.open(tmp_path / "b.h5")
    assert again.nbytes_with_decoder - again.nbytes == decoder_bytes
    assert not again[0][0]["semantic"].any()
    with pytest.raises(UsageError, match="weights take"):
        ReplayBuffer(tmp_path / "c.h5", budget="100kB", count_decoder=True, **options)


def test_a_codec_goes_with_its_last_exemplar(tmp_path: Path) -> None:
    task = Task(name="semantic", kind=TaskKind.LABEL, dtype="uint8")
    masks = np.random.default_rng(0).integers(0, 3, (60, 16, 16)).astype(np.uint8)
    options: dict[str, Any] = {"budget": "3kB", "tasks": [task], "policy": Newest()}
    with ReplayBuffer(tmp_path / "b.h5", codec="label-context", **options) as buffer:
        buffer.add({"semantic": masks}, np.arange(60))
        assert buffer.report().decoder_bytes > 100_000
    with ReplayBuffer(tmp_path / "b.h5", codec="png", **options) as buffer:
        buffer.add({"semantic": masks[:10]}, np.arange(10))
        assert set(buffer.report().slots) == {"label-context q50", "png q50"}
        buffer.add({"semantic": masks}, np.arange(60))
        assert set(buffer.report().slots) == {"png q50"}
        assert buffer.report().decoder_bytes == 0
        for sample, label in buffer:
            assert np.array_equal(sample["semantic"], masks[label])


def test_a_classical_buffer_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from dsc._replay.buffer.buffer import ReplayBuffer\n"
        "from tests.replay.pictures import pictures\n"
        f"buffer = ReplayBuffer({str(tmp_path / 'b.h5')!r}, budget='1MB')\n"
        "buffer.add(pictures(2), [0, 1])\n"
        "buffer[0]\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_rate_adaptive_buffer_holds_more_at_a_lower_quality_not_below_the_floor(
    tmp_path: Path, kind: Kind
) -> None:
    plain = filled(tmp_path / "plain.h5", 200, kind, quality=90)
    policy = RateAdaptive(floor=25)
    adaptive = filled(tmp_path / "adaptive.h5", 200, kind, quality=90, policy=policy)
    assert len(adaptive) > 1.2 * len(plain)
    assert all(int(name.split(" q")[1]) >= 25 for name in adaptive.report().slots)
    assert adaptive.nbytes <= adaptive.budget


def test_a_stored_exemplar_is_lowered_from_its_own_pixels(tmp_path: Path) -> None:
    buffer = ReplayBuffer(
        tmp_path / "b.h5", budget="8kB", quality=90, policy=RateAdaptive(floor=25), codec="webp"
    )
    images = pictures(120)
    for start in range(0, 120, 20):
        keys = [str(at) for at in range(start, start + 20)]
        buffer.add(images[start : start + 20], np.zeros(20, int), keys=keys)
    for (image, _), key in zip(buffer, buffer.keys, strict=True):
        own = np.abs(image.astype(int) - images[int(key)]).mean()
        other = np.abs(image.astype(int) - images[(int(key) + 1) % 120]).mean()
        assert own < other


def test_a_cached_image_can_be_changed_without_harm(tmp_path: Path) -> None:
    buffer = filled(tmp_path / "b.h5", cache="50kB")
    first = buffer[0][0].copy()
    for _ in range(3):
        image, _ = buffer[0]
        assert np.array_equal(image, first)
        image[:] = 0


def test_a_cache_follows_exemplars_through_an_update(tmp_path: Path, kind: Kind) -> None:
    cached = filled(tmp_path / "b.h5", kind=kind, cache="1MB", policy="class-balanced")
    list(cached)
    for task in range(3):
        cached.add(kind.samples(30, seed=task + 20), np.full(30, 20 + task))
        plain = ReplayBuffer.open(tmp_path / "b.h5")
        assert all(same(a, b) for (a, _), (b, _) in zip(cached, plain, strict=True))


def test_through_codec_gives_what_a_buffer_would_hold(tmp_path: Path) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", budget="1MB", quality=20)
    images = pictures(5)
    decoded, sizes = buffer.through_codec(images)
    assert len(buffer) == 0
    buffer.add(images, range(5))
    assert buffer.report().payload_bytes == sizes.sum()
    for image, label in buffer:
        assert np.array_equal(image, decoded[label])


def test_transforms_are_applied_to_the_chosen_exemplars(tmp_path: Path) -> None:
    buffer = filled(tmp_path / "b.h5")
    data = buffer.dataset(transform=lambda image: image / 255, indices=[2, 5])
    assert len(data) == 2
    assert np.array_equal(data[1][0], buffer[5][0] / 255)
    assert data.targets.tolist() == buffer.targets[[2, 5]].tolist()


def test_images_of_mixed_sizes_come_back_in_their_own(tmp_path: Path) -> None:
    images = [pictures(1, side)[0] for side in (8, 40, 16)]
    buffer = ReplayBuffer(tmp_path / "b.h5", budget="1MB", codec="png")
    buffer.add(images, [0, 1, 2])
    for image, label in buffer:
        assert np.array_equal(image, images[label])
