"""What is asked is read once; then one value says which codec codes what, and how well."""

from typing import Any

import pytest

from dsc._codecs.maps.base import TaskCodec
from dsc._codecs.residual.codec import ResidualCodec
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.decide import coded_tasks, decide_coding
from dsc._pipeline.options import CodingOptions
from dsc._schemas import Bound, BoundKind, Effort, Metric, Quality, Target
from dsc._sources.base import report_of
from dsc.errors import UnknownTaskError, UsageError
from tests.jobs.sources import DEPTH, LABEL, RGB, PixelSource

TASKS = (RGB, DEPTH, LABEL)
SOURCE = PixelSource(n=6)


def decide(**asked: Any) -> Coding:
    return decide_coding(CodingOptions(**asked), SOURCE, TASKS, report_of(SOURCE))


def codecs_of(coding: Coding) -> list[str]:
    return [coding.codec_set.codec_name(task.name) for task in coding.tasks]


def test_each_task_has_its_codec_its_quality_and_what_is_promised_of_it() -> None:
    coding = decide(
        codec="png,rgb=avif,depth=jxl",
        quality="40,rgb=70",
        target="rgb=38dB",
        max_error="depth=5mm",
    )
    assert codecs_of(coding) == ["avif", "jxl + residual", "png"]
    assert [coding.quality.of(task.name) for task in TASKS] == [70, 40, 40]
    assert coding.quality.targets == {"rgb": Target(metric=Metric.PSNR, value=38)}
    assert coding.quality.max_error == {"depth": Bound(kind=BoundKind.METRES, value=0.005)}
    assert coding.choice is None
    assert coding.encoder().is_searching


def test_where_nothing_is_asked_the_usual_codec_codes_at_the_usual_quality() -> None:
    coding = decide()
    assert codecs_of(coding) == [
        "av1",
        "av1",
        "label-scan",
    ]  # for few samples no codec with weights
    assert coding.quality == Quality(default=60)
    assert coding.named().quality.tasks == dict.fromkeys(("rgb", "depth", "label"), 60)
    assert not coding.encoder().is_searching


@pytest.mark.parametrize("effort", [None, "fast", "best"])
def test_the_effort_reaches_every_codec_that_knows_one(effort: str | None) -> None:
    coding = decide(codec="png,rgb=avif,depth=jxl", max_error="depth=5mm", effort=effort)
    avif, bounded, png = (coding.codec_set.codec(slot) for slot in range(3))
    assert isinstance(bounded, ResidualCodec)
    for codec in (avif, bounded.base, png):
        assert isinstance(codec, TaskCodec)
        assert codec.effort == (effort or "default")


def test_an_unknown_effort_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="--effort harder: fast, default, best"):
        decide(effort="harder")


def test_a_choice_made_at_another_effort_is_made_again() -> None:
    asked = {"codec": "png,label=auto", "auto_samples": 2}
    first = decide(**asked).choice
    assert first is not None
    assert first.effort is Effort.DEFAULT
    second = decide_coding(
        CodingOptions(**asked, effort="fast"), SOURCE, TASKS, report_of(SOURCE), earlier=first
    ).choice
    assert second is not None
    assert second.effort is Effort.FAST


def test_a_whole_quality_counts_beside_the_options() -> None:
    given = Quality(tasks={"rgb": 9}, max_error={"rgb": Bound(kind=BoundKind.COUNTS, value=4)})
    coding = decide(codec="rgb=jxl,depth=jxl", quality=given, max_error="depth=1%")
    assert set(coding.quality.max_error) == {"rgb", "depth"}
    assert codecs_of(coding)[:2] == ["jxl + residual", "jxl + residual"]
    assert coding.quality.of("rgb") == 9


def test_a_choice_made_for_the_same_question_is_not_made_again() -> None:
    tried: list[int] = []

    def again(samples: int, earlier: Any) -> Coding:
        return decide_coding(
            CodingOptions(codec="png,label=auto", auto_samples=samples),
            SOURCE,
            TASKS,
            report_of(SOURCE),
            earlier=earlier,
            on_trial=lambda done, total, left_s: tried.append(done),
        )

    first = again(2, None)
    assert first.choice is not None
    assert tried
    tried.clear()
    assert again(2, first.choice).choice == first.choice
    assert not tried
    assert again(3, first.choice).choice != first.choice
    assert tried


def test_only_a_task_called_a_picture_by_name_stops_being_exact() -> None:
    guessed = RGB.model_copy(update={"exact": True})
    tasks, names = (guessed, DEPTH), ["rgb", "depth"]
    for asked, exact in (
        (CodingOptions(codec="jpeg"), True),
        (CodingOptions(codec="rgb=png"), True),
        (CodingOptions(codec="rgb=jpeg"), False),
        (CodingOptions(target="rgb=38dB"), False),
        (CodingOptions(target="other=38dB"), True),
    ):
        assert coded_tasks(asked, tasks, names)[0].exact is exact, asked


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"codec": "rgb=vector"}, UsageError),
        ({"quality": "0"}, UsageError),
        ({"quality": "nothing=3"}, UnknownTaskError),
        ({"target": "label=3dB"}, UsageError),
        ({"max_error": "rgb=1%"}, UsageError),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        decide(**asked)
