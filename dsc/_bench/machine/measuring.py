"""One task on one set: what is measured of every carrier and quality, and kept."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dsc._bench.environment import package_version
from dsc._bench.machine.carriers import Carrier, Uncompressed
from dsc._bench.machine.classification import answers, compare
from dsc._bench.machine.datasets import CLASSIFICATION, PROBES
from dsc._bench.machine.dense import DENSE, DenseHeads
from dsc._bench.machine.heads import RIDGES
from dsc._bench.machine.network import PIXELS, Network
from dsc._bench.machine.operations import network_mmac, reader_mmac
from dsc._bench.machine.options import MachineOptions
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.machine.probes import embeddings_of, measure_probe
from dsc._bench.machine.seen import Seen, SeenCache
from dsc._bench.store import Store, key_of
from dsc._schemas.extractor import EMBEDDING


class TaskBench:
    """One task on one set.

    Parameters
    ----------
    task, data
        What is measured, on what.
    network
        What looks.
    carriers
        What pictures may be stored by; a dense task takes none that stores embeddings.
    cache
        What was seen of coded pictures.
    store
        What was measured before.
    """

    def __init__(
        self,
        task: str,
        data: PictureSet,
        network: Network,
        carriers: Sequence[Carrier],
        options: MachineOptions,
        cache: SeenCache,
        store: Store,
    ) -> None:
        self._task, self._data, self._network = task, data, network
        self._options, self._cache, self._store = options, cache, store
        dense = task in DENSE  # goes on from maps, and from no embedding
        self.carriers = [one for one in carriers if not dense or one.enters != EMBEDDING]

    @property
    def count(self) -> int:
        """How many points there are."""
        return sum(len(self._qualities(one)) for one in self.carriers)

    def row(self, carrier: Carrier, step: Callable[[], None]) -> dict[str, Any]:
        """Measure what is not there yet of a carrier."""
        points = []
        for quality in self._qualities(carrier):
            known = self._identity(carrier, quality)
            points.append(self._store.get_or_make(known, lambda q=quality: self._point(carrier, q)))  # type: ignore[misc]
            step()
        known = {"what": "carrier"} | self._identity(carrier, 0)
        row = self._store.get_or_make(known, lambda: self._carrier(carrier))
        return {"name": carrier.name, "enters": carrier.enters} | row | {"points": points}

    def described(self) -> dict[str, Any]:
        """Say in JSON what was measured on what."""
        data = self._data
        picture = data.pictures[-1]
        parts = network_mmac(self._network, picture, data.side)
        layer = self._network.layer.name
        readers = {one.enters: reader_mmac(parts, one.enters, layer) for one in self.carriers}
        return {
            "task": self._task,
            "data": data.name,
            "title": data.title,
            "pictures": data.count,
            "train": data.train,
            "size": "{1}×{0}".format(*picture.shape),
            "source_bpp": data.source_bpp,
            "seeds": self._options.seeds,
            "operations": {"network": parts, "reader": readers},
        }

    def _qualities(self, carrier: Carrier) -> Sequence[int]:
        own = self._options.own_qualities.get(carrier.name)
        return sorted(set(own)) if own else carrier.qualities(self._options.asked)

    def _identity(self, carrier: Carrier, quality: int) -> dict[str, Any]:
        found = self._head_identity(carrier, quality)
        if self._task in DENSE:
            options = self._options
            found |= {"seeds": options.seeds, "retrain": options.retrain, "tune": options.tune}
        return found

    def _head_identity(self, carrier: Carrier, quality: int) -> dict[str, Any]:
        found: dict[str, Any] = {
            "task": self._task,
            "seen": dict(self._cache.identity(carrier, quality, self._data)),
            "truth": self._data.truth_digest,
            "torch": package_version("torch"),
        }
        if self._task == PROBES:
            return found | {"ridges": RIDGES}
        return found | ({"heads": asdict(self._options.schedule)} if self._task in DENSE else {})

    def _point(self, carrier: Carrier, quality: int) -> dict[str, Any]:
        seen = self._seen(carrier, quality)
        sizes = seen.payload_bytes[-self._data.count :]
        return {
            "quality": quality,
            "bytes": float(sizes.mean()),
            "bpp": float(8 * sizes.sum() / self._data.pixels),
            "encode_ms": 1000 * seen.encode_s,
            "read_ms": 1000 * seen.read_s,
            "metrics": self._metrics(carrier, quality, seen),
        }

    def _seen(self, carrier: Carrier, quality: int) -> Seen:
        """Return what was seen; where nothing is trained, of the pictures that are measured."""
        if self._task != CLASSIFICATION:
            return self._cache.get(carrier, quality, self._data)
        if carrier.learns:
            return self._cache.get(carrier, quality, self._data).measured(self._data)
        return self._cache.get(carrier, quality, self._data.measured())

    def _carrier(self, carrier: Carrier) -> dict[str, Any]:
        return {
            "shared_bytes": carrier.shared_bytes(self._data),
            "codec_mmac": carrier.codec_mmac(self._data),
        }

    def _metrics(self, carrier: Carrier, quality: int, seen: Seen) -> dict[str, Any]:
        if self._task == CLASSIFICATION:
            found = answers(self._network, seen)
            return dict(compare(self._answers, found, self._data.measured_truth()))
        if self._task == PROBES:
            found = embeddings_of(self._network, seen)
            return dict(measure_probe(self._data, self._embeddings, found))
        return self._dense(carrier, quality, seen)

    def _dense(self, carrier: Carrier, quality: int, seen: Seen) -> dict[str, Any]:
        heads = self._heads

        def over_seeds(name: str, measure: Callable[[int], dict[str, float]]) -> list[Any]:
            known = self._head_identity(carrier, quality) | {"heads are": name}
            return [
                self._store.get_or_make(known | {"seed": seed}, lambda s=seed: measure(s))  # type: ignore[misc]
                for seed in range(self._options.seeds)
            ]

        found = {"as_is": over_seeds("as they are", lambda seed: heads.as_it_is(seen, seed))}
        if isinstance(carrier, Uncompressed):
            return found
        if self._options.retrain:
            found["retrained"] = over_seeds("retrained", lambda seed: heads.retrained(seen, seed))
        if self._options.tune and carrier.enters == PIXELS:
            decoded = carrier.code(self._data, quality).values
            found["tuned"] = over_seeds("tuned", lambda seed: heads.tuned(seen, decoded, seed))
        return found

    @cached_property
    def _heads(self) -> DenseHeads:
        whole = self._head_identity(Uncompressed(), 100)

        def path_of(seed: int) -> Path:
            return self._cache.folder / f"head-{key_of(whole | {'seed': seed})}.safetensors"

        return DenseHeads(
            self._task,
            self._network,
            self._data,
            lambda: self._reference,
            self._options.schedule,
            path_of,
        )

    @cached_property
    def _reference(self) -> Seen:
        return self._seen(Uncompressed(), 100)

    @cached_property
    def _answers(self) -> Array:
        return answers(self._network, self._reference)

    @cached_property
    def _embeddings(self) -> Array:
        return np.asarray(embeddings_of(self._network, self._reference))
