"""Entropy coding beside compressai's own path, on the same symbols and the same tables.

    python -m benchmarks.entropy_coding

compressai's path is `EntropyModel.compress`/`decompress` as its users call it, lists and all; ours
is `SymbolEncoder`/`SymbolDecoder`, sort and scatter included, with the compiled kernels and with
their twins in Python. Rounds alternate between the two, so
that a busy machine slows both. Needs the extra `research` (compressai).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from compressai.entropy_models import GaussianConditional

from dsc import _kernels
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder, Tables


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def tables_of(model: GaussianConditional) -> Tables:
    """Return compressai's own integer tables to our coder: same entries, same escape."""
    rows = []
    for row, length in zip(model._quantized_cdf, model._cdf_length, strict=True):
        rows.append(np.diff(row[: int(length)].numpy()).astype(np.uint32))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Tables(np.concatenate(rows), offsets, model._offset.numpy().astype(np.int32))


def ours_decode(data: bytes, indexes: np.ndarray, tables: Tables) -> np.ndarray:
    return SymbolDecoder(data).get(indexes, tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scales = torch.exp(torch.linspace(np.log(0.11), np.log(16), 64))
    model = GaussianConditional(scales.tolist())
    model.update()
    tables = tables_of(model)
    print(f"{'symbols':>9} {'':10} {'encode ms':>10} {'decode ms':>10} {'bytes':>9}")
    for shape in ((1, 192, 32, 48), (1, 64, 16, 16)):
        index = torch.randint(0, 64, shape, dtype=torch.int32)
        symbols = torch.round(torch.randn(shape) * scales[index.long()])
        wide, narrow = symbols.to(torch.int32).numpy(), index.to(torch.uint8).numpy()

        def theirs_encode(symbols: torch.Tensor = symbols, index: torch.Tensor = index) -> bytes:
            return bytes(model.compress(symbols, index)[0])

        def ours_encode(wide: np.ndarray = wide, narrow: np.ndarray = narrow) -> bytes:
            encoder = SymbolEncoder()
            encoder.put(wide, narrow, tables)
            return encoder.finish()

        theirs, ours = theirs_encode(), ours_encode()
        decoded = model.decompress([theirs], index)
        if not torch.equal(decoded, symbols):
            raise SystemExit("compressai did not give the symbols back")
        if not np.array_equal(SymbolDecoder(ours).get(narrow, tables), wide):
            raise SystemExit("our coder did not give the symbols back")
        times: dict[str, list[float]] = {key: [] for key in ("te", "td", "oe", "od", "we", "wd")}
        for _ in range(args.rounds):
            times["te"].append(timed(theirs_encode))
            times["oe"].append(timed(ours_encode))
            times["td"].append(timed(partial(model.decompress, [theirs], index)))
            times["od"].append(timed(partial(ours_decode, ours, narrow, tables)))
            with _kernels.twins():
                times["we"].append(timed(ours_encode))
                times["wd"].append(timed(partial(ours_decode, ours, narrow, tables)))
        m = {key: statistics.median(values) for key, values in times.items()}
        count = symbols.numel()
        print(f"{count:9} {'compressai':10} {m['te']:10.2f} {m['td']:10.2f} {len(theirs):9}")
        print(f"{'':9} {'dsc':10} {m['oe']:10.2f} {m['od']:10.2f} {len(ours):9}")
        print(f"{'':9} {'dsc, twin':10} {m['we']:10.2f} {m['wd']:10.2f} {len(ours):9}")
        print(
            f"{'':9} {'ratio':10} {m['te'] / m['oe']:9.1f}x {m['td'] / m['od']:9.1f}x "
            f"{len(ours) / len(theirs):9.4f}"
        )


if __name__ == "__main__":
    main()
