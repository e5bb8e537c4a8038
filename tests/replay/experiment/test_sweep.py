"""A sweep: every run once, tables that say it all, and wrong plans are refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsc._codecs.registry import codec_class
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.experiment import sweep as sweeping
from dsc._replay.experiment.plan import RunConfig, Sweep
from dsc._replay.experiment.plots import contact_sheet, draw, over_bytes, over_steps
from dsc._replay.experiment.summary import summarise, table
from dsc._replay.experiment.sweep import sweep
from dsc._replay.learners.network import ResNet
from dsc._replay.learners.registry import learner_class
from dsc.errors import CorruptArchiveError, UsageError
from tests.places import ROOT
from tests.replay.class_pictures import make_pictures, write_folder, write_zip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    write_zip(root / "train.zip", make_pictures(classes=4, per_class=8, side=12))
    write_zip(root / "test.zip", make_pictures(classes=4, per_class=4, side=12, seed=1))
    return root


def plan(place: Path, **changes: Any) -> Sweep:
    values: dict[str, Any] = {
        "data": {"place": str(place)},
        "scenario": {"increment": 2},
        "learners": ["er"],
        "budgets": ["1500", "3kB"],
        "codecs": ["png", "webp:30"],
        "recipe": {"epochs": 1, "batch": 8},
        "seeds": [0, 1],
    }
    return Sweep.make(**values | changes)


@pytest.fixture(scope="module")
def done(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    out = tmp_path_factory.mktemp("out")
    return out, sweep(plan(place), out)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_have_a_row_for_every_run_and_every_step(done: tuple[Path, list[Any]]) -> None:
    out, results = done
    assert len(results) == 8
    runs, steps = rows_of(out / "results.csv"), rows_of(out / "steps.csv")
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert lines == results
    assert len(runs) == 8
    assert len(steps) == 16
    for row, result in zip(runs, results, strict=True):
        assert row["codec"] in ("png", "webp")
        assert float(row["last_accuracy"]) == pytest.approx(result["last_accuracy"], abs=1e-4)
        assert int(row["bytes"]) <= int(row["budget"])
        own = [step for step in steps if step["id"] == row["id"]]
        assert [int(step["seen"]) for step in own] == [2, 4]
        assert own[-1]["accuracy"] == row["last_accuracy"]
        assert len(ReplayBuffer.open(out / "runs" / f"{row['id']}.h5")) == result["exemplars"]
    assert not list((out / "work").iterdir())


def test_finished_runs_are_not_computed_again(
    place: Path, done: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[RunConfig] = []
    run: Callable[..., Any] = sweeping.run
    monkeypatch.setattr(sweeping, "run", lambda c, *rest: computed.append(c) or run(c, *rest))
    again = sweep(plan(place), done[0])
    assert again == done[1]
    assert not computed
    more = sweep(plan(place, seeds=[0, 1, 2]), done[0])
    assert [one.seed for one in computed] == [2] * 4
    assert more[:8] == done[1]


def test_a_run_killed_before_its_result_was_written_is_finished(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = plan(place, seeds=[0], budgets=["3kB"], codecs=["png"])

    def killed(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep(one, tmp_path)
    (row,) = sweep(one, tmp_path)
    assert len(ReplayBuffer.open(tmp_path / "runs" / f"{row['id']}.h5")) == row["exemplars"]


def test_results_of_other_data_are_not_taken_for_these(
    place: Path, done: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeping.load_data.cache_clear()
    monkeypatch.setattr(sweeping, "data_sha256", lambda *sets: "other")
    with pytest.raises(UsageError, match="this run saw other data"):
        sweep(plan(place), done[0])
    sweeping.load_data.cache_clear()


def test_a_damaged_result_is_named(place: Path, tmp_path: Path) -> None:
    one = plan(place, seeds=[0], budgets=["3kB"], codecs=["png"])
    sweep(one, tmp_path)
    path = tmp_path / "runs" / f"{one.runs()[0].id}.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(CorruptArchiveError, match="remove it to compute the run anew"):
        sweep(one, tmp_path)


def test_a_run_has_one_name_and_another_run_another(place: Path) -> None:
    names = [run.id for run in plan(place).runs()]
    assert len(set(names)) == 8
    assert names == [run.id for run in plan(place).runs()]
    assert not set(names) & {run.id for run in plan(place, recipe={"lr": 0.01}).runs()}


def test_arms_of_a_seed_come_before_the_next_seed(place: Path) -> None:
    assert [run.seed for run in plan(place).runs()] == [0] * 4 + [1] * 4


def test_a_learner_may_have_a_recipe_of_its_own(place: Path) -> None:
    made = plan(place, learners=["er", "wa"], recipes={"wa": {"lr": 0.5}}).runs()
    assert {(run.learner, run.recipe.lr, run.recipe.batch) for run in made} == {
        ("er", 0.05, 8), ("wa", 0.5, 8)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learners": ["ewc"]}, "unknown learner 'ewc'"),
        ({"codecs": ["webp:200"]}, "codec 'webp:200'"),
        ({"codecs": [":5"]}, "codec ':5'"),
        ({"budgets": ["much"]}, "budget='much'"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [-1]}, "seed"),
        ({"recipe": {"speed": 1}}, "recipe.speed"),
        ({"recipes": {"er": {"speed": 1}}}, "speed"),
        ({"scenario": {"increment": 0}}, "scenario.increment"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    place: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan(place, **changes).runs()


def test_a_plan_is_read_from_a_file_and_options_change_it(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(plan(place).to_json())
    assert Sweep.read(path) == plan(place)
    changed = Sweep.read(path, {"seeds": [7], "recipe": {"lr": 0.2}})
    assert changed.seeds == (7,)
    assert (changed.recipe.lr, changed.recipe.batch) == (0.2, 8)


def test_a_changed_recipe_holds_for_every_learner(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(plan(place, recipes={"er": {"lr": 0.9, "batch": 4}}).to_json())
    (run, *_) = Sweep.read(path, {"recipe": {"lr": 0.2}}).runs()
    assert (run.recipe.lr, run.recipe.batch) == (0.2, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[1]", "one object"), ('{"data": {"place": "x"}}', "scenario")],
)
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"plan.json.*{message}"):
        Sweep.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        Sweep.read(tmp_path / "none.json")


def result(seed: int, accuracy: float, codec: str = "webp", budget: int = 1000) -> dict[str, Any]:
    config = RunConfig.model_validate(
        {"data": {"place": "x"}, "scenario": {"increment": 1}, "learner": "er",
         "budget": budget, "codec": codec, "seed": seed}
    )  # fmt: skip
    steps = [{"seen": 1, "accuracy": 90.0}, {"seen": 2, "accuracy": accuracy}]
    return {
        "config": config.model_dump(mode="json"), "last_accuracy": accuracy,
        "average_incremental_accuracy": None, "forgetting": 1.0, "backward_transfer": -1.0,
        "exemplars": 10, "bytes": 900, "steps": steps,
    }  # fmt: skip


def test_differences_are_taken_seed_by_seed() -> None:
    rows = [result(seed, 20.0 + 10 * seed, "png") for seed in range(3)]
    rows += [result(seed, 25.0 + 10 * seed) for seed in range(3)]
    rows.append(result(0, 99.0, "png", budget=5000))
    baseline, other, large = sorted(summarise(rows), key=lambda one: (one.budget, one.arm))
    assert baseline.difference is None
    assert baseline.means["last_accuracy"] == pytest.approx(30)
    assert baseline.means["average_incremental_accuracy"] is None
    assert (other.difference, other.half) == pytest.approx((5, 0))
    assert large.difference is None
    columns, cells = table([baseline, other], "png")
    assert columns[-1] == "last, less png"
    assert cells[1][-1] == "+5.0 ± 0.0"
    with pytest.raises(UsageError, match="no arm 'avif-50'"):
        summarise(rows, "avif-50")


def test_curves_are_means_over_seeds() -> None:
    rows = [result(0, 20.0), result(1, 40.0), result(0, 60.0, budget=4000)]
    assert over_bytes(rows) == {"er, webp-50": [(1000, 30.0, pytest.approx(10)), (4000, 60.0, 0)]}
    assert over_steps(rows)["er, webp-50, 1,000 bytes"][1] == (2, 30.0, pytest.approx(10))


def test_plots_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'dsc[bench]'")
    both = draw([result(0, 20.0), result(0, 60.0, budget=4000)], tmp_path)
    assert [path.name for path in both] == [
        "accuracy-over-steps.png", "accuracy-over-steps.svg",
        "accuracy-over-bytes.png", "accuracy-over-bytes.svg",
    ]  # fmt: skip
    assert all(path.stat().st_size > 2000 for path in both)
    one_budget = draw([result(0, 20.0)], tmp_path)
    assert {path.stem for path in one_budget} == {"accuracy-over-steps"}


def test_a_contact_sheet_shows_every_picture() -> None:
    pictures = make_pictures(classes=3, per_class=3, side=10).images
    sheet = contact_sheet(pictures, columns=4)
    assert sheet.shape == (3 * 12 + 2, 4 * 12 + 2, 3)
    for at, picture in enumerate(pictures):
        top, left = 2 + at // 4 * 12, 2 + at % 4 * 12
        assert (sheet[top : top + 10, left : left + 10] == picture).all()
    assert (sheet[26:, 14:] == 255).all()


@pytest.mark.slow
def test_the_benchmark_makes_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import replay

    for name, test in (("cifar100", "test"), ("tiny_imagenet40", "val")):
        for part, seed in (("train", 0), (test, 1)):
            pictures = make_pictures(classes=5, per_class=8, side=32, seed=seed)
            write_folder(tmp_path / "data" / name / part, pictures)
    words = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--smoke"]
    replay.main([*words, "--processes", "1"])
    text = (tmp_path / "out" / "replay.md").read_text()
    assert text.count("| 20,000 | webp-20 |") == 4
    assert "CIFAR-100 at 32 pixels, 4 classes, er-ace" in text
    assert len(rows_of(tmp_path / "out" / "results.csv")) == 16
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").glob("*.json")}
    replay.main([*words, "--processes", "1"])
    assert before == {path: path.stat().st_mtime_ns for path in before}


GPU_PROTOCOLS = sorted((ROOT / "benchmarks").glob("replay_gpu_*.json"))


@pytest.mark.parametrize("path", GPU_PROTOCOLS, ids=lambda path: path.stem)
def test_every_protocol_file_is_a_sweep_that_can_be_run(path: Path) -> None:
    runs = Sweep.read(path, {"data": {"place": "elsewhere"}}).runs()
    assert {run.data.place for run in runs} == {"elsewhere"}
    assert {run.scenario.order_seed for run in runs} == {1993}
    for learner in {run.learner for run in runs}:
        learner_class(learner)
    for network in {run.recipe.network for run in runs}:
        ResNet(network, 10, 32, 0)
    for codec in {run.codec for run in runs}:
        codec_class(codec)
    assert len({run.id for run in runs}) == len(runs)
    assert {run.scenario.initial_increment for run in runs} == {
        50 if "b50" in path.stem else 11 if "food" in path.stem else None
    }
