"""The findings as Markdown: ratios at a glance, whole jobs, then every codec kind by kind."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dsc._bench.markdown import markdown_table
from dsc._bench.speed.clock import ratio, spread
from dsc._bench.speed.contenders import AVIF_LEVEL, DEFAULT
from dsc._bench.speed.frames import percent

Part = Mapping[str, Any]
Row = Mapping[str, Any]

METHOD = """\
Processor time of one core: seconds of all threads and ended children, medians of rounds in which
the rows of a table took turns in one process; in brackets half of what lies between the fastest
round and the slowest. A ratio is the median of the ratios within rounds. Sizes are of what is
stored, and what comes back is held against the original. Library calls (they begin with a capital)
are imagecodecs' with one thread; AVIF is at level {level}, which `av1`'s quality 60 stands for.
Frames of whole jobs lie decoded in memory. Holes are punched out of depth that has none: shadows
along edges, and blobs.
"""
TITLES = {
    "compress": "Compressing",
    "stream": "Streaming one epoch, decoded",
    "max-error": "Compressing below a largest error",
    "target": "Compressing to a distortion",
    "auto": "Compressing with chosen codecs",
    "workers": "Compressing with two workers, by the clock on the wall",
}
MATRIX = "encoding / decoding, MPix/s (bits a pixel)"
MOST_DIGITS = 6
WALL = ("workers",)  # parts whose ratios are of wall time
WALL_SHOWN = ("auto", *WALL)


def report(parts: Sequence[Part], environment: Mapping[str, Any]) -> str:
    """Write what a person reads first: ratios at a glance, and whole jobs."""
    return _text(environment, _first(parts))


def markdown(parts: Sequence[Part], environment: Mapping[str, Any]) -> str:
    """Write all tables; `report` are the first of them.

    Parameters
    ----------
    parts
        Results in order.
    environment
        As `run.speed_environment` gives it.
    """
    codecs = [part for part in parts if part["part"] == "codecs"]
    tables = [(codec_title(part), codec_table(part)) for part in codecs]
    return _text(environment, [*_first(parts), *tables])


def _first(parts: Sequence[Part]) -> list[tuple[str, str]]:
    jobs = [(title, job_table(parts, name)) for name, title in TITLES.items()]
    names = dict.fromkeys(part["data"] for part in parts)
    every = [(f"{name}: {MATRIX}", matrix_table(parts, name)) for name in names]
    return [("At a glance", glance_table(parts)), *jobs, *every]


def _text(environment: Mapping[str, Any], sections: Sequence[tuple[str, str]]) -> str:
    text = ["# Speed\n", METHOD.format(level=AVIF_LEVEL), measured_on(environment)]
    for title, table in sections:
        text += [f"## {title}\n", table] if table else []
    return "\n".join(text)


def measured_on(environment: Mapping[str, Any]) -> str:
    """Say on which machine, with which libraries and kernels."""
    versions = ", ".join(f"{n} {v}" for n, v in environment["versions"].items() if v)
    return (
        f"Measured on {environment['cpu']}, Python {environment['python']}; {versions}; "
        f"{environment['kernels']}. Load when it began: {environment['load']:.1f} on "
        f"{environment['cpus']} processors.\n"
    )


def glance_table(parts: Sequence[Part]) -> str:
    """Return a row a part: what dsc does by default beside what it is compared with."""
    rows = []
    for part in parts:
        found = part_rows(part)
        if part["part"] == "codecs":
            row = next((r for n, r in found.items() if n.startswith(DEFAULT)), None)
            rows += [_codec_glance(part, row)] if row is not None else []
        else:
            rows += _job_glance(part, found)
    return markdown_table(["what", "data", "figure", "beside", "ratio", "bytes, ratio"], rows)


def _codec_glance(part: Part, row: Row) -> list[str]:
    base = part_rows(part).get(part["baseline"])
    return [
        f"decode {part['kind']}",
        f"{part['data']}, {part['size']}",
        f"{number(_ms(part, row, 'decode_s'))} ms, {number(_mpix_s(part, row, 'decode_s'))} MPix/s",
        part["baseline"],
        faster(ratio_text(base, row, "decode_s")),
        _bytes_text(row, base),
    ]


def _job_glance(part: Part, found: Mapping[str, Row]) -> list[list[str]]:
    """Return dsc's first row, beside the baseline and beside dsc's best effort."""
    base = found.get(part["baseline"])
    own = [row for name, row in found.items() if name.startswith("dsc") and row is not base]
    if base is None or not own:
        return []
    beside = [base, *(found[name] for name in found if name.endswith("--effort best"))]
    return [_glance_row(part, own[0], other) for other in beside]


def _glance_row(part: Part, row: Row, base: Row) -> list[str]:
    if part["part"] == "stream":
        figure = f"{number(statistics.median(row['rates']))} samples/s"
        times = faster(ratio_text(row, base, "rates"))
    else:
        key = time_key(part)
        figure = f"{number(statistics.median(row[key]))} s of {frames_text(part)}"
        if part["part"] in WALL_SHOWN and part["part"] not in WALL:
            figure += f", {number(statistics.median(row['wall_s']))} s by the clock on the wall"
        times = longer(ratio_text(row, base, key))
    return [row["name"], job_data(part), figure, base["name"], times, _bytes_text(row, base)]


def job_table(parts: Sequence[Part], name: str) -> str:
    """Return the table of one part of whole jobs, all sets."""
    rows = [
        _stream_row(part, row) if name == "stream" else _job_row(part, row)
        for part in parts
        if part["part"] == name
        for row in part["rows"]
    ]
    if name == "stream":
        head = ["data", "how", "samples/s", "ratio", "kB a frame"]
    else:
        head = ["data", "how", "seconds a frame", "wall, seconds a frame", "time, ratio",
                "kB a frame", "bytes, ratio"]  # fmt: skip
    return markdown_table(head, rows)


def _stream_row(part: Part, row: Row) -> list[str]:
    if "error" in row:
        return [job_data(part), row["name"], row["error"], "", ""]
    base = part_rows(part).get(part["baseline"])
    return [
        job_data(part),
        row["name"],
        with_spread(row["rates"], lambda rate: rate),
        ratio_text(row, base, "rates"),
        number(row["bytes"] / part["frames"] / 1000),
    ]


def _job_row(part: Part, row: Row) -> list[str]:
    if "error" in row:
        return [job_data(part), row["name"], row["error"], "", "", "", ""]
    base, frames = part_rows(part).get(part["baseline"]), part["frames"]
    return [
        job_data(part),
        row["name"],
        with_spread(row["cpu_s"], lambda seconds: seconds / frames),
        number(statistics.median(row["wall_s"]) / frames) if part["part"] in WALL_SHOWN else "",
        ratio_text(row, base, time_key(part)),
        number(row["bytes"] / frames / 1000),
        _bytes_text(row, base),
    ]


def matrix_table(parts: Sequence[Part], data: str) -> str:
    """Return one table of a set: a row a codec, a column a kind of frames."""
    kinds = [part for part in parts if part["part"] == "codecs" and part["data"] == data]
    names = dict.fromkeys(name for part in kinds for name in part_rows(part))
    rows = [[name, *(_matrix_cell(part, name) for part in kinds)] for name in _calls_first(names)]
    return markdown_table(["codec", *(part["kind"] for part in kinds)], rows)


def _calls_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: not name[0].isupper())


def _matrix_cell(part: Part, name: str) -> str:
    row = part_rows(part).get(name)
    if row is None:
        return ""
    encode, decode = (number(_mpix_s(part, row, key)) for key in ("encode_s", "decode_s"))
    return f"{encode} / {decode} ({8 * row['bytes'] / part['pixels']:.3f})"


def codec_title(part: Part) -> str:
    """Name the table of one kind of frames."""
    return f"{part['data']}: {part['kind']}, {frames_text(part)} of {part['size']}"


def codec_table(part: Part) -> str:
    """Return the table of one kind of frames: size, distortion, encoding, decoding."""
    base = part_rows(part).get(part["baseline"])
    rows = []
    for row in part["rows"]:
        if "error" in row:
            rows.append([row["name"], "", row["error"], "", "", "", "", ""])
            continue
        rows.append(
            [
                row["name"],
                f"{8 * row['bytes'] / part['pixels']:.3f}",
                distortion_text(row["metrics"]),
                with_spread(row["encode_s"], lambda s: part["pixels"] / s / 1e6),
                ratio_text(base, row, "encode_s"),
                with_spread(row["decode_s"], lambda s: part["pixels"] / s / 1e6),
                ratio_text(base, row, "decode_s"),
                number(_ms(part, row, "decode_s")),
            ]
        )
    beside = f"beside {part['baseline']}"
    head = ["codec", "bits a pixel", "distortion", "encode, MPix/s", beside, "decode, MPix/s",
            beside, "decode, ms a frame"]  # fmt: skip
    return markdown_table(head, rows)


def part_rows(part: Part) -> dict[str, Row]:
    """Return the rows that were measured, by name."""
    return {row["name"]: row for row in part["rows"] if "error" not in row}


def frames_text(part: Part) -> str:
    """Spell how many frames there are."""
    return f"{part['frames']} frame{'s' if part['frames'] != 1 else ''}"


def job_data(part: Part) -> str:
    """Name the frames of a job."""
    holes = f", {percent(part['holes'])} holes" if part["holes"] else ""
    return f"{part['data']}{holes}"


def time_key(part: Part) -> str:
    """Name the seconds that ratios of a part are of."""
    return "wall_s" if part["part"] in WALL else "cpu_s"


def ratio_text(over: Row | None, under: Row | None, key: str) -> str:
    """Spell the median ratio of two rows' rounds; nothing where one is missing."""
    found = ratio(over[key], under[key]) if over is not None and under is not None else None
    return "" if found is None else f"{number(found)} ×"


def faster(text: str) -> str:
    """Say that a ratio is of speeds."""
    return f"{text} the speed" if text else ""


def longer(text: str) -> str:
    """Say that a ratio is of times."""
    return f"{text} the time" if text else ""


def with_spread(values: Sequence[float], figure: Callable[[float], float]) -> str:
    """Spell the median of a figure of each round, and how far rounds lie apart."""
    found = [figure(value) for value in values]
    text = number(statistics.median(found))
    return f"{text} (±{percent(spread(found))})" if len(found) > 1 else text


def distortion_text(metrics: Mapping[str, float]) -> str:
    """Spell the first metric of a kind: ``38.68 dB``, ``0.28 %``, ``0.14°``, ``identical``."""
    if metrics.get("identical") == 1.0:
        return "identical"
    if "psnr_db" in metrics:
        return f"{metrics['psnr_db']:.2f} dB"
    if "absrel" in metrics:
        mask = "" if metrics.get("invalid_exact", 1.0) == 1.0 else ", MASK NOT EXACT"
        return f"{100 * metrics['absrel']:.2f} %{mask}"
    if "mean_angle_deg" in metrics:
        return f"{metrics['mean_angle_deg']:.2f}°"
    return "NOT EXACT"


def number(value: float) -> str:
    """Spell a figure by three digits."""
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{min(max(digits, 0), MOST_DIGITS)}f}"


def _mpix_s(part: Part, row: Row, key: str) -> float:
    return float(part["pixels"] / statistics.median(row[key]) / 1e6)


def _ms(part: Part, row: Row, key: str) -> float:
    return float(1000 * statistics.median(row[key]) / part["frames"])


def _bytes_text(row: Row, base: Row | None) -> str:
    if base is None or row is base:
        return ""
    return number(row["bytes"] / base["bytes"])
