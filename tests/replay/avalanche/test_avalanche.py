"""A `ReplayBuffer` as the memory of real strategies of Avalanche."""

import importlib.util
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc.errors import StateMismatchError, UsageError
from tests.places import ROOT
from tests.replay.class_pictures import make_pictures

HAS_AVALANCHE = importlib.util.find_spec("avalanche") is not None


@pytest.mark.skipif(HAS_AVALANCHE, reason="Avalanche is installed")
def test_without_avalanche_the_import_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"pip install 'dsc\[avalanche\]'"):
        import dsc._replay.avalanche.storage  # noqa: F401


if HAS_AVALANCHE:
    warnings.filterwarnings("ignore", message="no QP solver")
    from avalanche.benchmarks import nc_benchmark
    from avalanche.benchmarks.utils import AvalancheDataset
    from avalanche.benchmarks.utils.data_attribute import DataAttribute
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
    from avalanche.training.storage_policy import ExemplarsBuffer
    from avalanche.training.supervised import Naive
    from PIL import Image
    from torchvision.transforms import Compose, RandomHorizontalFlip, ToTensor

    from dsc._replay.avalanche.storage import CompressedExemplarsBuffer

needs_avalanche = pytest.mark.skipif(
    not HAS_AVALANCHE, reason="Avalanche is not installed: pip install avalanche-lib"
)


class Pictures(Dataset[Any]):
    """Six classes of twelve pictures; as PIL images unless told."""

    def __init__(self, seed: int = 0, form: Any = None, per_class: int = 12) -> None:
        made = make_pictures(classes=6, per_class=per_class, side=12, seed=seed)
        self.images, self.targets = made.images, made.labels.tolist()
        self.form = form or Image.fromarray

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.form(self.images[index]), self.targets[index]


def benchmark(
    form: Any = None, transform: Any = None, eval_transform: Any = None, **options: Any
) -> Any:
    return nc_benchmark(
        Pictures(form=form), Pictures(seed=1, form=form), n_experiences=3,
        task_labels=options.pop("task_labels", False), shuffle=False,
        train_transform=transform or ToTensor(),
        eval_transform=eval_transform or ToTensor(), **options,
    )  # fmt: skip


@pytest.fixture
def memory(tmp_path: Path) -> Any:
    path = tmp_path / "memory.h5"
    with ReplayBuffer(path, "5kB", "png", policy="class-balanced") as opened:
        yield opened


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, 2), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 6),
    )  # fmt: skip


class Classifier(torch.nn.Module):
    """The same, with its features in reach."""

    def __init__(self) -> None:
        super().__init__()
        *first, self.last = network()
        self.features = torch.nn.Sequential(*first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.features(x))
        return found


def naive(plugins: list[Any]) -> Any:
    model = network()
    return Naive(
        model=model, optimizer=torch.optim.Adam(model.parameters(), 0.01),
        criterion=torch.nn.CrossEntropyLoss(), train_mb_size=8, train_epochs=15, eval_mb_size=32,
        plugins=plugins, evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
    )  # fmt: skip


@needs_avalanche
def test_a_strategy_remembers_with_it_and_forgets_without(memory: ReplayBuffer) -> None:
    found = benchmark()
    storage = CompressedExemplarsBuffer(memory)
    assert isinstance(storage, ExemplarsBuffer)
    assert len(storage.buffer) == 0
    assert storage.max_size == memory.budget == 5000
    plugin = ReplayPlugin(mem_size=storage.max_size, storage_policy=storage)
    accuracies = []
    for strategy in (naive([plugin]), naive([])):
        torch.manual_seed(1)
        for number, experience in enumerate(found.train_stream):
            strategy.train(experience)
            if strategy.plugins[0] is plugin:
                assert memory.nbytes <= memory.budget
                assert set(memory.targets.tolist()) == set(range(2 * number + 2))
        (accuracy,) = strategy.eval(found.test_stream).values()
        accuracies.append(accuracy)
    assert memory.seen == 72
    remembered, forgotten = accuracies
    assert forgotten < 0.5
    assert remembered > forgotten + 0.2


@needs_avalanche
def test_exemplars_are_the_images_before_the_transforms(memory: ReplayBuffer) -> None:
    source, seen = Pictures(), []

    class Doubled:
        def __call__(self, image: Any) -> Any:
            seen.append(image)
            return ToTensor()(image) * 2

    found = benchmark(transform=Compose([RandomHorizontalFlip(1.0), Doubled()]))
    storage = CompressedExemplarsBuffer(memory)
    storage.post_adapt(None, found.train_stream[0])
    assert not seen
    originals = {image.tobytes() for image in source.images}
    for image, _ in (memory[at] for at in range(len(memory))):
        assert image.tobytes() in originals
    x, y, task = storage.buffer[0]
    pixels, label = memory[0]
    assert isinstance(seen[0], Image.Image)
    assert (x == 2 * ToTensor()(pixels[:, ::-1].copy())).all()
    assert (y, task) == (label, 0)
    x, *_ = storage.buffer.eval()[0]
    assert (x == ToTensor()(pixels)).all()
    assert storage.buffer.targets[0] == label


@needs_avalanche
@pytest.mark.parametrize("kind", ["array", "bytes", "unit", "gray"])
def test_images_come_back_in_the_form_they_came_in(memory: ReplayBuffer, kind: str) -> None:
    forms = {
        "array": lambda image: image,
        "bytes": lambda image: torch.from_numpy(image).permute(2, 0, 1),
        "unit": lambda image: torch.from_numpy(image).permute(2, 0, 1).float() / 255,
        "gray": lambda image: Image.fromarray(image[..., 0]),
    }
    found = benchmark(forms[kind], transform=lambda x: x, eval_transform=lambda x: x)
    storage = CompressedExemplarsBuffer(memory)
    storage.post_adapt(None, found.train_stream[0])
    new, old = found.train_stream[0].dataset[0][0], storage.buffer[0][0]
    assert type(old) is type(new)
    assert np.shape(old) == np.shape(new)
    if isinstance(new, torch.Tensor):
        assert old.dtype == new.dtype
    every = [found.train_stream[0].dataset[at][0] for at in range(24)]
    assert any(np.array_equal(np.asarray(old), np.asarray(one)) for one in every)


@needs_avalanche
def test_float_tensors_that_are_no_images_are_refused_and_nothing_changes(
    memory: ReplayBuffer,
) -> None:
    found = benchmark(lambda image: torch.from_numpy(image).permute(2, 0, 1).float() / 127 - 1)
    storage = CompressedExemplarsBuffer(memory)
    with pytest.raises(UsageError, match="normalise in a transform that is applied after"):
        storage.post_adapt(None, found.train_stream[0])
    assert memory.seen == len(memory) == len(storage.buffer) == 0


@needs_avalanche
def test_forms_are_not_mixed(memory: ReplayBuffer) -> None:
    storage = CompressedExemplarsBuffer(memory)
    storage.post_adapt(None, benchmark().train_stream[0])
    before = memory.seen
    with pytest.raises(UsageError, match="a uint8 array, RGB among exemplars that are each a PIL"):
        storage.post_adapt(None, benchmark(lambda image: image).train_stream[1])
    assert memory.seen == before


@needs_avalanche
def test_labels_are_those_that_the_benchmark_gives(memory: ReplayBuffer) -> None:
    order = [5, 3, 1, 0, 2, 4]
    found = benchmark(fixed_class_order=order, class_ids_from_zero_from_first_exp=True)
    storage = CompressedExemplarsBuffer(memory)
    for experience in found.train_stream:
        storage.post_adapt(None, experience)
    source = Pictures()
    by_pixels = {
        image.tobytes(): label for image, label in zip(source.images, source.targets, strict=True)
    }
    for at in range(len(memory)):
        pixels, label = memory[at]
        assert order[label] == by_pixels[pixels.tobytes()]
        assert storage.buffer[at][1] == label == storage.buffer.targets[at]


@needs_avalanche
def test_task_labels_are_kept_when_asked_for_and_never_lost_silently(tmp_path: Path) -> None:
    found = benchmark(task_labels=True, class_ids_from_zero_in_each_exp=True)
    with ReplayBuffer(tmp_path / "kept.h5", "5kB", "png") as memory:
        storage = CompressedExemplarsBuffer(memory, task_labels=True)
        for experience in found.train_stream:
            storage.post_adapt(None, experience)
        assert set(storage.buffer.targets_task_labels) == {0, 1, 2}
        assert set(storage.buffer.task_set) == {0, 1, 2}
        assert storage.buffer[0][2] == int(memory.keys[0])
    with ReplayBuffer(tmp_path / "without.h5", "5kB", "png") as memory:
        storage = CompressedExemplarsBuffer(memory)
        storage.post_adapt(None, found.train_stream[0])
        with pytest.raises(UsageError, match=r"task label 1: .*task_labels=True"):
            storage.post_adapt(None, found.train_stream[1])


@needs_avalanche
def test_a_sample_with_more_than_is_kept_is_refused(memory: ReplayBuffer) -> None:
    data = benchmark().train_stream[0].dataset
    more = data.update_data_attribute(
        "weights", DataAttribute([1.0] * len(data), "weights", use_in_getitem=True)
    )
    with pytest.raises(UsageError, match="samples with weights"):
        CompressedExemplarsBuffer(memory).update_from_dataset(more)


@needs_avalanche
def test_sizes_are_bytes_and_shrinking_drops_exemplars(memory: ReplayBuffer) -> None:
    storage = CompressedExemplarsBuffer(memory)
    storage.post_adapt(None, benchmark().train_stream[0])
    before = storage.buffer
    count = len(before)
    storage.resize(None, 2500)
    assert storage.max_size == memory.budget == 2500
    assert memory.nbytes <= 2500
    assert len(storage.buffer) == len(memory) < count
    assert len(before) == count  # what was given out stays whole
    assert [before[at][1] for at in range(count)] == list(before.targets)


@needs_avalanche
def test_parts_of_an_experience_are_kept_as_the_whole_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, kept = benchmark(), []
    for chunk in (5, 1000):
        monkeypatch.setattr("dsc._replay.avalanche.storage.CHUNK", chunk)
        with ReplayBuffer(tmp_path / f"{chunk}.h5", "3kB", "png") as memory:
            CompressedExemplarsBuffer(memory).post_adapt(None, found.train_stream[0])
            kept.append(sorted(memory[at][0].tobytes() for at in range(len(memory))))
            assert memory.generation == 1
    assert kept[0] == kept[1]


@needs_avalanche
def test_herding_asks_for_features(tmp_path: Path) -> None:
    found = benchmark()
    asked = []

    def features(strategy: Any, data: Any) -> Any:
        asked.append(strategy)
        return np.stack([x.mean((1, 2)).numpy() for x, *_ in data])

    with ReplayBuffer(tmp_path / "memory.h5", "3kB", "png", policy="herding") as memory:
        with pytest.raises(UsageError, match="features"):
            CompressedExemplarsBuffer(memory).post_adapt(None, found.train_stream[0])
        storage = CompressedExemplarsBuffer(memory, features=features)
        storage.post_adapt("strategy", found.train_stream[0])
        assert asked == ["strategy"]
        assert 0 < len(memory) < 24


@needs_avalanche
def test_loader_workers_read_it(memory: ReplayBuffer) -> None:
    storage = CompressedExemplarsBuffer(memory, cache="1MB")
    storage.post_adapt(None, benchmark().train_stream[0])
    batches = list(DataLoader(storage.buffer, batch_size=4, num_workers=2))
    assert sum(len(x) for x, *_ in batches) == len(memory)
    assert torch.cat([y for _, y, *_ in batches]).tolist() == memory.targets.tolist()


@needs_avalanche
def test_a_saved_strategy_goes_on_with_its_memory(memory: ReplayBuffer) -> None:
    found = benchmark()
    storage = CompressedExemplarsBuffer(memory)
    storage.post_adapt(None, found.train_stream[0])
    saved = pickle.dumps(storage)
    memory.close()
    again = pickle.loads(saved)
    assert len(again.buffer) == len(storage.buffer)
    assert (again.buffer[0][0] == storage.buffer[0][0]).all()
    again.post_adapt(None, found.train_stream[1])
    assert again.memory.seen == 48
    again.memory.close()
    with pytest.raises(StateMismatchError, match=r"update 2, .* after update 1"):
        len(pickle.loads(saved).buffer)


@needs_avalanche
def test_a_memory_of_an_earlier_process_is_read_like_a_data_set(memory: ReplayBuffer) -> None:
    found = benchmark()
    CompressedExemplarsBuffer(memory).post_adapt(None, found.train_stream[0])
    with pytest.raises(UsageError, match="give like="):
        len(CompressedExemplarsBuffer(memory).buffer)
    storage = CompressedExemplarsBuffer(memory, like=found.train_stream[1].dataset)
    assert storage.buffer[0][0].shape == (3, 12, 12)


@needs_avalanche
def test_parts_with_different_transforms_are_refused(memory: ReplayBuffer) -> None:
    same = ToTensor()
    one, other = (
        benchmark(transform=made, eval_transform=same).train_stream for made in (same, Compose([]))
    )
    mixed = one[0].dataset.concat(other[1].dataset)
    assert isinstance(mixed, AvalancheDataset)
    with pytest.raises(UsageError, match="parts have different train transforms"):
        CompressedExemplarsBuffer(memory).update_from_dataset(mixed)


@needs_avalanche
def test_frozen_transforms_stay_with_the_exemplars(memory: ReplayBuffer) -> None:
    def turned(image: Any) -> Any:
        return image.transpose(Image.Transpose.ROTATE_180)

    frozen = benchmark(transform=turned, eval_transform=turned).train_stream[0]
    storage = CompressedExemplarsBuffer(memory)
    storage.update_from_dataset(frozen.dataset.freeze_transforms())
    originals = {image[::-1, ::-1].tobytes() for image in Pictures().images}
    assert all(memory[at][0].tobytes() in originals for at in range(len(memory)))
    assert np.asarray(storage.buffer[0][0]).tobytes() == memory[0][0].tobytes()


@pytest.mark.skipif(not HAS_AVALANCHE, reason="nothing to be kept out")
def test_dsc_alone_loads_no_avalanche() -> None:
    code = "import dsc, dsc._replay.buffer.buffer, sys; print('avalanche' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@needs_avalanche
def test_the_page_on_avalanche_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "avalanche.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    model = Classifier()
    known: dict[str, Any] = {
        "torch": torch, "model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1),
        "criterion": torch.nn.CrossEntropyLoss(), "benchmark": benchmark(),
    }  # fmt: skip
    for block in blocks:
        exec(block, known)  # what a reader would run
    known["storage"].post_adapt(known["strategy"], known["benchmark"].train_stream[0])
    assert len(known["memory"]) == 24
