"""Prints what targets and bounds came to, and how codecs were chosen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsc._cli.printing.output import say, show_table
from dsc._cli.printing.text import bytes_text, counted

if TYPE_CHECKING:
    from dsc._schemas import Manifest, Quality
    from dsc._schemas.choice import Choice, Trial
    from dsc._schemas.reached import Reached

TRIALS = ("tasks", "codec", "quality", "distortion", "bytes a sample", "codec file",
          "encode", "decode", "on", "")  # fmt: skip


def show_choice(choice: "Choice") -> None:
    """Print the table that codecs were chosen from."""
    for name, text in choice.follows.items():
        say(f"not tried: {name}: follows from {text.partition('@')[0]}")
    if not choice.trials:
        return
    matched = [f"{name} {_measured(choice, name, v)}" for name, v in choice.reference.items()]
    most = max((trial.samples for trial in choice.trials), default=0)
    say(f"codecs tried on up to {counted(most, 'sample')}{_at_equal(matched)}")
    rows = [_cells(choice, trial) for trial in _by_samples(choice.trials)]
    used = [at for at in range(len(TRIALS)) if any(row[at] for row in rows)]
    show_table([TRIALS[at] for at in used], [[row[at] for at in used] for row in rows])
    if len({(trial.samples, trial.is_crop) for trial in choice.trials}) > 1:
        say(
            "rows on fewer samples, or on crops, were dropped early, and compare only with rows on "
            "the same samples"
        )
    for name, reason in choice.refused.items():
        say(f"out: {name}: {reason}")
    if choice.is_cut_short:
        say("the time for trying was over: the best so far is taken (--auto-minutes gives more)")
    chosen = ", ".join(
        f"{n}={codec}" for n, codec in choice.codecs.items() if n not in choice.follows
    )
    say(f"chosen: {chosen}")
    files = sum(trial.weights_bytes for trial in choice.trials if trial.is_chosen)
    if not files and any(trial.weights_bytes for trial in choice.trials):
        say("a codec file is stored once an archive, and its bytes count")


def show_reached(manifest: "Manifest") -> None:
    """Print what was asked of each task and what it got; nothing when nothing was asked."""
    own = {task.name for task in manifest.tasks}
    rows = [_reached(one) for one in manifest.reached if one.task in own]
    if rows:
        columns = ("task", "asked", "samples", "mean", "worst", "of sample", "quality")
        show_table(columns, rows)


def quality_text(quality: "Quality") -> str:
    """Spell a quality: the default, then what differs from it by task."""
    tasks = quality.tasks.items()
    own = [f"{name} {value}" for name, value in tasks if value != quality.default]
    own += [f"{name} to {target}" for name, target in quality.targets.items()]
    own += [f"{name} within {bound}" for name, bound in quality.max_error.items()]
    return ", ".join([str(quality.default), *own])


def _by_samples(trials: "Sequence[Trial]") -> "list[Trial]":
    """Sort the trials of the same tasks by what they were measured on, most first: the chosen's."""
    place = {tasks: at for at, tasks in enumerate(dict.fromkeys(one.tasks for one in trials))}
    return sorted(trials, key=lambda one: (place[one.tasks], one.is_crop, -one.samples))


def _at_equal(matched: Sequence[str]) -> str:
    return f", each at least as good as the usual one: {', '.join(matched)}" if matched else ""


def _cells(choice: "Choice", trial: "Trial") -> list[str]:
    qualities = [str(trial.quality[name]) for name in trial.tasks if name in trial.quality]
    distortion = [_measured(choice, name, v) for name, v in trial.distortion.items()]
    return [
        " + ".join(trial.tasks),
        trial.codec,
        ", ".join(qualities),
        ", ".join(distortion) or "exact",
        f"{'about ' * trial.is_crop}{bytes_text(trial.sample_bytes)}",
        bytes_text(trial.weights_bytes) if trial.weights_bytes else "",
        _speed(trial.encode_mpix_s),
        _speed(trial.decode_mpix_s),
        f"{'crops of ' * trial.is_crop}{counted(trial.samples, 'sample')}",
        "chosen" if trial.is_chosen else "",
    ]


def _measured(choice: "Choice", task: str, value: float) -> str:
    from dsc._schemas.target import measured_text

    return measured_text(choice.metric[task], value)


def _speed(mpix_s: float | None) -> str:
    return "" if mpix_s is None else f"{mpix_s:.2f} MPix/s"


def _reached(one: "Reached") -> list[str]:
    from dsc._schemas.target import measured_text

    def text(value: float | None) -> str:
        if value is None:
            return "exact" if one.exact else "–"
        units = {"relative": "absrel", "metres": "rmse_m"}
        return measured_text(units.get(one.unit or "", one.metric), value)

    mean = one.quality_mean
    spread = f"{one.quality_min} to {one.quality_max}, mean {mean:.1f}" if mean else "–"
    key = one.worst_key or ""
    return [one.task, one.asked, str(one.samples), text(one.mean), text(one.worst), key, spread]
