"""The process in which one library is measured: ``python -m dsc._bench.stream.child``.

It reads calls as JSON lines from stdin (``{"call": name, ...arguments}``) and answers each by one
JSON line on the descriptor that stdout was: ``{"ok": result}`` or ``{"error": text}``. What
libraries print goes to stderr. Each library has a process of its own, so that none slows another
down by what it leaves behind (threads, shared memory, open connections).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

WARM_S = 0.2


def main() -> None:
    """Answer calls until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        call = json.loads(line)
        try:
            answer = {"ok": CALLS[call.pop("call")](**call)}
        except Exception as error:  # whatever a library raises becomes a line of the table
            text = " ".join(f"{type(error).__name__}: {error}".split())
            answer = {"error": text[:300]}
        print(json.dumps(answer), file=answers, flush=True)


def write(library: str, material: Mapping[str, Any], **options: Any) -> None:
    """Write a rival's data set; see `rivals.write_rival`."""
    from dsc._bench.stream.material import Material
    from dsc._bench.stream.rivals import write_rival

    made = Material(Path(material["folder"]), material["distinct"], material["size"])
    options["out"] = Path(options["out"])
    write_rival(library, made, **options)


def read_all(read: Mapping[str, Any]) -> int:
    """Read one epoch and count its samples."""
    from dsc._bench.stream.readers import batch_length

    return sum(batch_length(batch) for batch in _open(read))


def rate(read: Mapping[str, Any], seconds: float, cpus: Sequence[int] = ()) -> dict[str, float]:
    """Return samples a second, from when reading is under way.

    Parameters
    ----------
    read
        Fields of `readers.Read`.
    seconds
        At least so long is measured, in whole batches; epochs follow each other.
    cpus
        Processors that this process and its workers may use; all when empty.

    Returns
    -------
    dict
        Samples by second of time (``rate``), and by second of processor time of this process and
        its workers (``cpu_rate``), which what else a machine does hardly touches.
    """
    import torch

    from dsc._bench.stream.readers import batch_length

    torch.set_num_threads(1)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or before)
    try:
        loader = _open(read)
        batches = _endless(loader)
        lanes = max(int(read["workers"]), 1)  # workers that began together also give together
        if read.get("cache_decoded"):  # what is measured is every epoch but the first
            _take(batches, batch_length, 0, len(loader))
        _take(batches, batch_length, WARM_S, lanes)
        start, cpu = time.perf_counter(), cpu_seconds()
        taken = _take(batches, batch_length, seconds, lanes)
        found = {
            "rate": taken / (time.perf_counter() - start),
            "cpu_rate": taken / max(cpu_seconds() - cpu, 1e-3),
        }
        batches.close()
        return found
    finally:
        os.sched_setaffinity(0, before)


def device_name(device: str) -> str | None:
    """Name a GPU; None when there is none."""
    import torch

    return torch.cuda.get_device_name(device) if torch.cuda.is_available() else None


def synthesis(read: Mapping[str, Any], seconds: float) -> float:
    """Return samples a second of synthesis alone: the latents of one batch, again and again."""
    import torch

    import dsc
    from dsc._pipeline.choose.codec_set import CodecSet
    from dsc._storage.read.archive import Archive

    archive = Archive.open(read["where"])
    stream = dsc.stream(read["where"], read["fields"], read["batch_size"], decode="latents")
    batch = next(iter(stream))["latents"].to(read["device"])
    tasks = [task.name for task in stream._sources[0].tasks]
    codec: Any = CodecSet.from_archive(archive).codec(0)
    on_gpu = str(read["device"]).startswith("cuda")

    def run(for_seconds: float) -> float:
        count, start = 0, time.perf_counter()
        while not count or time.perf_counter() - start < for_seconds:
            codec.synthesize_tensors(batch, tasks)
            if on_gpu:
                torch.cuda.synchronize()
            count += 1
        return count * len(batch) / (time.perf_counter() - start)

    run(WARM_S)
    return run(seconds)


def _open(read: Mapping[str, Any]) -> Any:
    from dsc._bench.stream.readers import Read, open_reader

    return open_reader(Read(**{**read, "fields": tuple(read["fields"])}))


def _endless(loader: Any) -> "Any":
    def epochs() -> Iterator[Any]:
        while True:
            yield from loader

    return epochs()


def _take(
    batches: Iterator[Any], length: Callable[[Any], int], seconds: float, multiple: int
) -> float:
    """Take batches for some time, a multiple of them. Return the number of samples."""
    samples, count, start = 0, 0, time.perf_counter()
    while count % multiple or not count or time.perf_counter() - start < seconds:
        samples += length(next(batches))
        count += 1
    return float(samples)


def first_batch(url: str, options: Mapping[str, Any], batches: int) -> dict[str, float]:
    """Open a stream and read its first batches; times and memory of this process.

    Returns
    -------
    dict
        Seconds: ``open_s`` (the manifest and records), ``first_s`` (the first batch after that),
        ``rest_s`` (the other batches). Bytes: ``imported_bytes`` (peak before it began),
        ``opened_bytes``, ``peak_bytes`` (peaks since), ``worker_peak_bytes`` (the largest of its
        workers, 0 without). ``read``: samples.
    """
    import torch

    import dsc
    from dsc._bench.stream.readers import batch_length

    torch.set_num_threads(1)
    dsc.stream  # noqa: B018 - loads what it needs, which is no part of opening
    imported, start = peak_bytes(), time.perf_counter()
    stream = dsc.stream(url, **options)
    opened_bytes, opened = peak_bytes(), time.perf_counter()
    found = _endless(stream)
    samples = batch_length(next(found))
    first = time.perf_counter()
    for _ in range(batches - 1):
        samples += batch_length(next(found))
    return {
        "open_s": opened - start,
        "first_s": first - opened,
        "rest_s": time.perf_counter() - first,
        "imported_bytes": imported,
        "opened_bytes": opened_bytes,
        "peak_bytes": peak_bytes(),
        "worker_peak_bytes": max((peak_bytes(pid) for pid in _children()), default=0),
        "read": samples,
    }


def exact(
    url: str, options: Mapping[str, Any], sums: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Read one epoch of bitstreams and hold every one against its CRC-32.

    Parameters
    ----------
    sums
        By stream, the CRC-32 of each different view; sample i is view i modulo their number.

    Returns
    -------
    dict
        ``delivered``, how many came ``twice``, how many are ``wrong``, ``seconds``, and what
        `stream.report` says.
    """
    import zlib

    import dsc

    dsc.stream  # noqa: B018 - loads what it needs, which is no part of reading
    start = time.perf_counter()
    stream = dsc.stream(url, decode="bytes", **options)
    seen: set[int] = set()
    delivered = wrong = 0
    for batch in stream:
        for at, index in enumerate(batch["__index__"].tolist()):
            delivered += 1
            seen.add(index)
            wrong += any(zlib.crc32(batch[s][at]) != v[index % len(v)] for s, v in sums.items())
    report = {k: v for k, v in stream.report.to_json().items() if k != "skipped"}
    return {
        "delivered": delivered,
        "twice": delivered - len(seen),
        "wrong": wrong,
        "seconds": time.perf_counter() - start,
        "report": report,
    }


def peak_bytes(pid: int | str = "self") -> int:
    """Return the largest resident size that a process has had; 0 where the system does not tell.

    Of its present program alone: `getrusage` also counts what its parent held when it forked.
    """
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def cpu_seconds() -> float:
    """Return the processor time that this process and its children have used."""
    ticks = 0
    for pid in _children():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
            ticks += sum(map(int, fields.split()[11:13]))  # utime, stime
        except OSError:
            continue  # it has ended
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _children() -> list[int]:
    try:
        tasks = Path("/proc/self/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    except OSError:
        return []


CALLS: dict[str, Callable[..., Any]] = {
    "write": write,
    "read_all": read_all,
    "rate": rate,
    "first_batch": first_batch,
    "exact": exact,
    "device_name": device_name,
    "synthesis": synthesis,
}

if __name__ == "__main__":
    main()
