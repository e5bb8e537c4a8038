"""The findings as Markdown: tables that can be pasted into a README, one section a set.

Bits a pixel (bpp) are of real bitstreams and, unless said otherwise, of a task read alone, with all
that it requires. "n/a": the curves do not reach each other.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dsc._bench.markdown import markdown_table
from dsc._bench.rate_distortion.candidates import CLASSICAL, LOSSLESS, SLOW_AVIF
from dsc._bench.rate_distortion.curves import LEAD, BdRate, value_of
from dsc._bench.rate_distortion.points import Point
from dsc._bench.rate_distortion.report import SINGLE_TASK, EqualCost, SetReport, codec_names
from dsc._bench.rate_distortion.subsets import SubsetCost
from dsc._schemas import Task, TaskKind

METHOD = """\
Bits are those of real bitstreams, headers, masks and containers included (an AVIF is the file as
written); a task's bits are all that it takes to decode it alone, and in brackets what it adds where
everything else is stored too. Distortion is the mean over samples: PSNR of images, AbsRel of depth,
mean angle of normals, invalid pixels left out. BD-rate: bits more (+) or less (−) at equal
distortion, the mean over the range that both curves cover (in brackets), PCHIP on log rate; the
quality axis of depth is −10 log10(AbsRel²), that of normals −10 log10(angle²), so that equal steps
are equal ratios of error. {slow} is AVIF at speed 4, avif at speed 6, both 4:4:4. RGB that was
published as JPEG (NYUv2, 7-Scenes) favours jpeg near the quality it was made with.
"""
NA = "n/a"


def markdown(reports: Sequence[SetReport], environment: Mapping[str, Any]) -> str:
    """Write all tables.

    Parameters
    ----------
    reports
        One a set.
    environment
        As `dsc._bench.environment.environment` gives it.
    """
    versions = ", ".join(f"{n} {v}" for n, v in environment["versions"].items() if v)
    parts = [
        "# Rate and distortion\n",
        METHOD.format(slow=SLOW_AVIF),
        f"Measured on one core of {environment['cpu']}; {versions}.\n",
    ]
    for title, table in (
        ("BD-rate at a glance", glance_table(reports)),
        ("Label maps, lossless", label_table(reports)),
    ):
        parts += [f"## {title}\n", table] if table else []
    for report in reports:
        parts += [_heading(report, "##"), *_sections(report)]
    parts += ["## All points\n"]
    for report in reports:
        parts += [_heading(report, "###"), point_table(report)]
    return "\n".join(parts)


def _heading(report: SetReport, level: str) -> str:
    height, width = report.size
    count = str(report.samples)
    count += f" of {report.total}" if report.samples < report.total else ""
    return f"{level} {report.title}: {count} samples, {width}×{height}\n"


def _sections(report: SetReport) -> Iterable[str]:
    joint = f"joint codecs at quality {report.operating}"
    for title, table in (
        ("BD-rate", bd_table(report)),
        ("Bits a pixel at equal distortion", equal_table(report)),
        (f"Every subset of tasks, {joint}, bits a pixel at equal distortion", subset_table(report)),
        (f"Tasks that follow from others, at quality {report.operating}", following_table(report)),
        ("Speed beside quality", speed_table(report)),
        (f"Bits by stream, {joint}", stream_table(report)),
    ):
        if table:
            yield f"### {title}\n"
            yield table


def glance_table(reports: Sequence[SetReport]) -> str:
    """Return the BD-rate of every codec against the strongest anchor, a row a task."""
    strongest = (SLOW_AVIF, "avif", *CLASSICAL)
    anchor = next((n for n in strongest if any(n in r.classical for r in reports)), "")
    names = [n for n in codec_names(reports) if n != anchor and n not in LOSSLESS]
    rows = []
    for report in reports:
        found = report.bd_rates()
        for task in report.lossy_tasks if anchor in report.classical else ():
            keys = [(task.name, name, anchor) for name in names]
            cells = [percent_text(found[key]) if key in found else "" for key in keys]
            rows.append([report.title, task.name, *cells])
    return markdown_table(["data", f"task, against {anchor}", *names], rows)


def bd_table(report: SetReport) -> str:
    """Return the BD-rate of dsc's own codecs against every anchor; of all when there are none."""
    found = report.bd_rates()
    own = [c.name for c in report.candidates if not c.is_classical]
    codecs = own or [c.name for c in report.candidates]
    rows = []
    for task in report.lossy_tasks:
        for codec in codecs:
            keys = [(task.name, codec, anchor) for anchor in report.classical]
            if any(key in found for key in keys):
                cells = [bd_text(task.kind, found[key]) if key in found else "" for key in keys]
                rows.append([task.name, codec, *cells])
    head = ["task", "codec", *(f"against {name}" for name in report.classical)]
    return markdown_table(head, rows)


def equal_table(report: SetReport) -> str:
    """Return the bits of every codec at the stated distortions; the fewest are bold."""
    costs = report.equal_costs()
    names = [n for n in codec_names([report]) if any(c.codec == n for c in costs)]
    dscs = {c.name for c in report.candidates if not c.is_classical}
    rows = []
    for task in report.lossy_tasks:
        own = {cost.codec: cost for cost in costs if cost.task == task.name}
        reached = [cost.alone_bpp for cost in own.values() if cost.alone_bpp is not None]
        if not reached:
            continue
        cells = [_equal_cell(own[name], min(reached)) if name in own else "" for name in names]
        ratios = [c.to_best_classical for n, c in own.items() if n in dscs]
        best = min((ratio for ratio in ratios if ratio is not None), default=None)
        at = value_text(task.kind, report.at[task.kind])
        rows.append([f"{task.name} at {at}", *cells, ratio_text(best, 1.0)])
    return markdown_table(["task", *names, "dsc's best / best classical"], rows)


def _equal_cell(cost: EqualCost, least: float) -> str:
    if cost.alone_bpp is None:
        return NA
    cell = bpp_text(cost.alone_bpp)
    cell = f"**{cell}**" if cost.alone_bpp == least else cell
    if cost.own_bpp is not None and cost.own_bpp < 0.999 * cost.alone_bpp:
        cell += f" ({bpp_text(cost.own_bpp)})"
    return cell


def subset_table(report: SetReport) -> str:
    """Return what every subset of tasks costs under joint codecs."""
    rows = []
    for codec, costs in report.subsets().items():
        point = report.operating_point(codec)
        for cost in costs if point is not None else ():
            best = " + ".join(cost.classical[task] for task in cost.tasks if task in cost.classical)
            single = "" if cost.single_bpp is None else bpp_text(cost.single_bpp)
            rows.append(
                [
                    codec,
                    _subset_name(cost, report.tasks, point),
                    bpp_text(cost.together_bpp),
                    bpp_text(cost.alone_bpp),
                    single,
                    ratio_text(cost.together_bpp, cost.single_bpp),
                    bpp_text(cost.classical_bpp) + (f" ({best})" if cost.classical_bpp else ""),
                    ratio_text(cost.together_bpp, cost.classical_bpp),
                ]
            )
    head = ["codec", "tasks", "together", "each alone, sum", f"{SINGLE_TASK} codecs, sum",
            f"together / {SINGLE_TASK}", "best classical a task, sum",
            "together / classical"]  # fmt: skip
    return markdown_table(head, rows)


def _subset_name(cost: SubsetCost, tasks: Sequence[Task], point: Point | None) -> str:
    """Name the tasks of a subset; a single one with its distortion."""
    if len(cost.tasks) > 1 or point is None:
        return " + ".join(cost.tasks)
    (task,) = (task for task in tasks if task.name == cost.tasks[0])
    return f"{task.name} ({value_text(task.kind, point.metrics[task.name][LEAD[task.kind]])})"


def following_table(report: SetReport) -> str:
    """Return what tasks that follow from others cost, beside codecs that store them."""
    kinds = {task.name: task.kind for task in report.tasks}
    rows = [
        [
            cost.task,
            ", ".join(cost.inputs),
            cost.rule,
            "identical" if cost.value is None else value_text(kinds[cost.task], cost.value),
            f"{cost.own_bpp:.4f}",
            bpp_text(cost.alone_bpp),
            bpp_text(cost.best_bpp) + (f" ({cost.best})" if cost.best else ""),
            ratio_text(cost.own_bpp, cost.best_bpp),
            ratio_text(cost.alone_bpp, cost.best_bpp),
        ]
        for cost in report.following()
    ]
    head = ["task", "follows from", "rule", "distortion", "own bpp", "with what it follows from",
            "best that stores it, there", "own / best", "alone / best"]  # fmt: skip
    return markdown_table(head, rows)


def speed_table(report: SetReport) -> str:
    """Return quality (BD-rate), speed and size side by side."""
    tasks = [task.name for task in report.lossy_tasks]
    found = report.bd_rates()
    anchor = next((n for n in (SLOW_AVIF, "avif", "jpeg") if n in report.classical), "")
    rows = []
    for codec in (candidate.name for candidate in report.candidates):
        measured = report.speed.get(codec, {}).get("lossy")
        if measured is None:
            continue
        quality = [_quality_cell(found, task, codec, anchor) for task in tasks]
        decode, kmac, gpu = (
            measured[key] for key in ("decode_mpix_s", "decode_kmac_px", "gpu_mpix_s")
        )
        rows.append(
            [
                codec,
                *quality,
                speed_text(measured["encode_mpix_s"]),
                *(speed_text(decode.get(task)) for task in tasks),
                " / ".join(f"{kmac[t]:.1f}" for t in tasks if kmac.get(t) is not None),
                " / ".join(f"{gpu[t]:.0f}" for t in tasks if gpu.get(t) is not None),
                millions_text(measured["parameters"], "M"),
                millions_text(measured["file_bytes"], "MB"),
            ]
        )
    head = ["codec", *(f"{task}, BD-rate to {anchor}" for task in tasks), "encode all, MPix/s",
            *(f"decode {task}, MPix/s" for task in tasks),
            f"decoder, kMAC/pixel ({' / '.join(tasks)})",
            f"GPU synthesis, MPix/s ({' / '.join(tasks)})",
            "parameters", "codec file"]  # fmt: skip
    return markdown_table(head, rows)


def _quality_cell(
    found: Mapping[tuple[str, str, str], BdRate | None], task: str, codec: str, anchor: str
) -> str:
    key = (task, codec, anchor)
    return "anchor" if codec == anchor else percent_text(found[key]) if key in found else ""


def stream_table(report: SetReport) -> str:
    """List the bits of every stream's latent and hyper-latent, and the channels that carry any."""
    rows = []
    for codec, streams in report.channels.items():
        for stream, parts in streams.items():
            latent = parts["latent"]
            rows.append(
                [
                    codec,
                    stream,
                    f"{sum(latent):.4f}",
                    f"{sum(parts['hyper']):.4f}",
                    f"{sum(value > 1e-5 for value in latent)} of {len(latent)}",
                    f"{1000 * max(latent, default=0.0):.2f}",
                ]
            )
    head = ["codec", "stream", "latent bpp", "hyper-latent bpp", "channels above 10⁻⁵ bpp",
            "largest channel, bits a 1,000 pixels"]  # fmt: skip
    return markdown_table(head, rows)


def label_table(reports: Sequence[SetReport]) -> str:
    """Return the bits of label maps, lossless; a codec that is not exact is marked."""
    labels = [(r, t) for r in reports for t in r.tasks if t.kind is TaskKind.LABEL]
    names = [n for n in codec_names(reports) if any(r.of(n, t.name) for r, t in labels)]
    rows = []
    for report, task in labels:
        found = {name: points[-1] for name in names if (points := report.of(name, task.name))}
        least = min((point.alone_bpp[task.name] for point in found.values()), default=0.0)
        cells = [_label_cell(found[name], task.name, least) if name in found else ""
                 for name in names]  # fmt: skip
        speed = {
            n: report.speed.get(n, {}).get("label", {}).get("decode_mpix_s", {}) for n in names
        }
        speeds = [speed_text(speed[name].get(task.name)) for name in names]
        rows.append([report.title, task.name, *cells, " / ".join(filter(None, speeds))])
    head = ["data", "task", *(f"{name}, bpp" for name in names),
            f"decoding, MPix/s ({' / '.join(names)})"]  # fmt: skip
    return markdown_table(head, rows)


def _label_cell(point: Point, task: str, least: float) -> str:
    alone, own = point.alone_bpp[task], point.own_bpp[task]
    text = f"**{alone:.4f}**" if alone == least else f"{alone:.4f}"
    text += f" ({own:.4f})" if own < 0.999 * alone else ""
    return text if point.metrics[task].get("identical") == 1.0 else f"{text} NOT EXACT"


def point_table(report: SetReport) -> str:
    """Return every point: rate and all metrics."""
    rows = [
        [
            task.name,
            candidate.name,
            str(point.quality),
            f"{point.alone_bpp[task.name]:.4f}",
            f"{point.own_bpp[task.name]:.4f}",
            ", ".join(f"{n} {plain_text(v)}" for n, v in point.metrics[task.name].items()),
        ]
        for task in report.tasks
        for candidate in report.candidates
        for point in report.of(candidate.name, task.name)
    ]
    head = ["task", "codec", "quality", "bpp alone", "bpp own", "distortion"]
    return markdown_table(head, rows)


def value_text(kind: TaskKind, value: float) -> str:
    """Spell a lead metric: ``34 dB``, ``0.5 %``, ``1°``."""
    if kind is TaskKind.IMAGE:
        return f"{value:.3g} dB"
    return f"{100 * value:.2g} %" if kind is TaskKind.DEPTH else f"{value:.2g}°"


def percent_text(found: BdRate | None) -> str:
    """Spell a BD-rate: ``−12 %``."""
    return NA if found is None else f"{found.percent:+.0f} %".replace("-", "−")


def bd_text(kind: TaskKind, found: BdRate | None) -> str:
    """Spell a BD-rate with the range it holds over."""
    if found is None:
        return NA
    low, high = (value_text(kind, value_of(kind, v)) for v in (found.low_db, found.high_db))
    return f"{percent_text(found)} ({low} to {high})"


def bpp_text(value: float | None) -> str:
    """Spell bits a pixel."""
    return NA if value is None else f"{value:.3f}"


def ratio_text(value: float | None, base: float | None) -> str:
    """Spell a ratio; nothing when either is missing."""
    return "" if value is None or not base else f"{value / base:.2f}"


def speed_text(value: float | None) -> str:
    """Spell MPix/s."""
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def millions_text(value: int | None, unit: str) -> str:
    """Spell a count in millions."""
    return "" if value is None else f"{value / 1e6:.2f} {unit}"


def plain_text(value: float) -> str:
    """Spell any metric."""
    return "identical" if math.isinf(value) else f"{value:.4g}"
