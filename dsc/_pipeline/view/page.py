"""Writes the page of ``dsc view``: one HTML file that asks no server for anything.

Pictures are data URIs, the style is inline, there is no script, and a content security policy
forbids everything else. Text from the archive is escaped. Colours follow the reader's light or dark
setting.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from dsc._pipeline.read.summary import Row, Summary
from dsc._pipeline.view.pictures import Picture
from dsc._schemas import Task


@dataclass(frozen=True)
class TaskView:
    """One task of one sample: pictures, or a value as text; what it costs and how far it is off."""

    name: str
    pictures: tuple[Picture, ...]
    text: str
    payload_bytes: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class SampleView:
    """One sample."""

    index: int
    key: str
    tasks: tuple[TaskView, ...]


@dataclass(frozen=True)
class Worst:
    """The samples that one task's first metric likes least, the worst first."""

    task: str
    metric: str
    samples: tuple[SampleView, ...]


@dataclass(frozen=True)
class Page:
    """Everything on a page.

    Attributes
    ----------
    means
        Metric means by task over `measured` samples; empty without originals.
    note
        One sentence on where the originals came from, or how to have them.
    """

    title: str
    subtitle: str
    note: str
    summary: Summary
    tasks: tuple[Task, ...]
    means: Mapping[str, Mapping[str, float]]
    measured: int
    samples: tuple[SampleView, ...]
    worst: tuple[Worst, ...]


def page_html(page: Page) -> str:
    """Return the whole HTML file."""
    parts = [
        _header(page),
        _tiles(page.summary),
        _table(page),
        _section("Samples", "evenly spread over the archive", _cards(page.samples)),
    ]
    if page.worst:
        worst = "".join(
            f"<h3>{escape(worst.task)} <small>by {metric_name(worst.metric)}</small></h3>"
            + _cards(worst.samples)
            for worst in page.worst
        )
        parts.append(_section("Worst samples", f"of the {page.measured} measured", worst))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(page.title)}</title><style>{STYLE}</style></head><body><main>"
        + "".join(parts)
        + "</main></body></html>\n"
    )


def metric_name(name: str) -> str:
    """Return the name of a metric as papers write it."""
    return _METRIC_NAMES.get(name, name)


def metric_text(name: str, value: float) -> str:
    """Spell a metric with its unit: ``PSNR 34.12 dB``."""
    if name in ("identical", "invalid_exact"):
        return metric_name(name) if value == 1 else f"{metric_name(name)}: {value:.1%}"
    if math.isnan(value):
        return f"{metric_name(name)} –"
    if math.isinf(value):
        return f"{metric_name(name)} lossless"
    return f"{metric_name(name)} {_METRIC_FORMS.get(name, '{:.4g}').format(value)}"


_METRIC_NAMES = {
    "psnr_db": "PSNR",
    "ms_ssim": "MS-SSIM",
    "absrel": "AbsRel",
    "rmse_m": "RMSE",
    "delta_1.25": "δ < 1.25",
    "mean_angle_deg": "mean angle",
    "identical": "identical",
    "invalid_exact": "invalid mask exact",
}
_METRIC_FORMS = {
    "psnr_db": "{:.2f} dB",
    "ms_ssim": "{:.4f}",
    "absrel": "{:.2%}",
    "rmse_m": "{:.3f} m",
    "delta_1.25": "{:.2%}",
    "mean_angle_deg": "{:.2f}°",
}


def _header(page: Page) -> str:
    return (
        f"<header><h1>{escape(page.title)}</h1><p>{escape(page.subtitle)}</p>"
        f'<p class="note">{escape(page.note)}</p></header>'
    )


def _tiles(summary: Summary) -> str:
    ratio = "–" if summary.ratio is None else f"{summary.ratio:.2f} ×"
    tiles = [
        (f"{summary.samples:,}", "samples"),
        (_bytes(summary.source_bytes), "source files"),
        (_bytes(summary.stored_bytes), "stored"),
        (ratio, "smaller"),
    ]
    if summary.n_failed:
        tiles.append((f"{summary.n_failed:,}", "unreadable"))
    cells = "".join(
        f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _table(page: Page) -> str:
    summary = page.summary
    most = max((row.source_bytes or row.stored_bytes for row in summary.rows), default=1)
    rows = "".join(_row(row, most, page.means.get(row.name, {})) for row in summary.rows)
    ratio = "" if summary.ratio is None else f"{summary.ratio:.2f} ×"
    total = (
        f"<tr><th>all</th><td></td><td>{_bytes(summary.source_bytes)}</td>"
        f"<td>{_bytes(summary.payload_bytes)}</td><td>{_bytes(summary.stored_bytes)}</td>"
        f"<td>{ratio}</td><td>{_bytes(summary.stored_bytes)}</td><td></td></tr>"
    )
    head = ("task", "codec", "source", "payload", "stored", "ratio", "fetch alone", "distortion")
    codec = f"codec weights {_bytes(summary.codec_bytes)} (once), " * bool(summary.codec_bytes)
    beside = f"Beside the streams: {codec}keys and manifest {_bytes(summary.other_bytes)}."
    measured = f" Distortion is the mean over {page.measured} samples." * bool(page.means)
    heads = "".join(f"<th>{name}</th>" for name in head)
    return (
        '<section><h2>Bytes a task</h2><div class="scroll"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody><tfoot>{total}</tfoot></table></div>"
        f'<p class="note">{beside}{measured}</p></section>'
    )


def _row(row: Row, most: int, means: Mapping[str, float]) -> str:
    source = "" if row.source_bytes is None else _bytes(row.source_bytes)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} ×"
    widths = [100 * (size or 0) / max(most, 1) for size in (row.source_bytes, row.stored_bytes)]
    bars = "".join(
        f'<i class="{name}" style="width:{width:.2f}%"></i>'
        for name, width in zip(("source", "stored"), widths, strict=True)
    )
    missing = f" <small>{row.missing} missing</small>" if row.missing else ""
    kind = f" <small>{escape(row.kind)}</small>"
    return (
        f'<tr><th>{escape(row.name)}{kind}{missing}<div class="bars">{bars}</div></th>'
        f"<td>{escape(row.codec)}</td><td>{source}</td><td>{_bytes(row.payload_bytes)}</td>"
        f"<td>{_bytes(row.stored_bytes)}</td><td>{ratio}</td><td>{_bytes(row.alone_bytes)}</td>"
        f"<td>{_metrics(means)}</td></tr>"
    )


def _section(title: str, hint: str, body: str) -> str:
    return f"<section><h2>{title} <small>{escape(hint)}</small></h2>{body}</section>"


def _cards(samples: Sequence[SampleView]) -> str:
    return f'<div class="cards">{"".join(map(_card, samples))}</div>'


def _card(sample: SampleView) -> str:
    tasks = "".join(map(_task, sample.tasks))
    key = f"<h4><span>{escape(sample.key)}</span> <small>#{sample.index}</small></h4>"
    return f'<article class="card">{key}{tasks}</article>'


def _task(task: TaskView) -> str:
    figures = "".join(
        f'<figure><img src="{picture.uri}" width="{picture.width}" height="{picture.height}" '
        f'alt="{escape(task.name)}, {picture.title}"><figcaption>{picture.title}'
        f"<small>{escape(picture.caption)}</small></figcaption></figure>"
        for picture in task.pictures
    )
    text = f'<p class="value">{escape(task.text)}</p>' if task.text else ""
    return (
        f'<div class="task"><h5>{escape(task.name)} <small>{_bytes(task.payload_bytes)}</small>'
        f'</h5><div class="figures">{figures}</div>{text}'
        f'<p class="metrics">{_metrics(task.metrics)}</p></div>'
    )


def _metrics(values: Mapping[str, float]) -> str:
    return " · ".join(escape(metric_text(name, value)) for name, value in values.items())


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} TB"


STYLE = """
:root{--ground:#f6f7f9;--card:#fff;--text:#1a2029;--quiet:#66707f;--line:#e1e5eb;--accent:#2f6fde;
--soft:#b9c4d4;--shade:0 1px 2px #0001,0 4px 16px #0000000a}
@media(prefers-color-scheme:dark){:root{--ground:#101318;--card:#191e26;--text:#e6eaf0;
--quiet:#929dad;--line:#2a313c;--accent:#6ea2ff;--soft:#475161;--shade:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1240px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em;overflow-wrap:anywhere}
header p{margin:0}h2{font-size:19px;margin:44px 0 12px}h3{font-size:16px;margin:24px 0 8px}
h4{font-size:14px;margin:0 0 8px;font-weight:600;overflow-wrap:anywhere}
h5{font-size:13px;margin:0 0 6px;font-weight:600}
small,.note,.metrics{color:var(--quiet);font-weight:400;font-size:12.5px}
.note{margin:8px 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:24px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px;
box-shadow:var(--shade)}
.tile b{display:block;font-size:24px;letter-spacing:-.01em}.tile span{color:var(--quiet)}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:12px;
box-shadow:var(--shade)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:10px 14px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap;
vertical-align:top}
th:first-child,td:nth-child(2),th:nth-child(2),td:last-child,th:last-child{text-align:left}
td:last-child{white-space:normal;color:var(--quiet);font-size:13px;min-width:200px}
thead th{color:var(--quiet);font-weight:500;font-size:13px}tbody th{font-weight:600}
tfoot th,tfoot td{border-bottom:0;font-weight:600}
.bars{width:180px;margin-top:6px}.bars i{display:block;height:4px;border-radius:2px;margin-top:2px;
min-width:2px}.bars .source{background:var(--soft)}.bars .stored{background:var(--accent)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,560px),1fr));gap:16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px;
box-shadow:var(--shade)}
.task+.task{margin-top:14px;padding-top:12px;border-top:1px solid var(--line)}
.figures{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:8px}
figure{margin:0}img{display:block;width:100%;height:auto;border-radius:6px;background:var(--line)}
figcaption{font-size:12px;margin-top:4px;display:flex;justify-content:space-between;gap:8px;
color:var(--quiet)}figcaption small{font-size:12px;text-align:right}
.metrics,.value{margin:4px 0 0}
"""
