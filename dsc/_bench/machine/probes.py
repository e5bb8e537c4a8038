"""Probes: classes that neither codec nor network was made for, told by a linear head.

The head is ridge regression on embeddings, its penalty chosen on what trains. Trained on those of
uncompressed pictures it is "as it is"; trained on what was stored, "retrained".
"""

import numpy as np

from dsc._bench.machine.heads import Ridge
from dsc._bench.machine.network import Network
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.machine.seen import Seen


def embeddings_of(network: Network, seen: Seen) -> Array:
    """Return embeddings (N, D) of what was seen."""
    return network.embeddings(seen.values) if seen.has_maps else seen.values


def measure_probe(data: PictureSet, reference: Array, found: Array) -> dict[str, float]:
    """Return the accuracy of both heads on what was stored.

    Parameters
    ----------
    reference, found
        Embeddings (N, D) of all pictures: uncompressed, and stored.
    """
    classes = np.asarray(data.truth)
    count, train = len(data.classes), slice(None, data.train)
    truth = classes[data.train :]
    accuracy = {}
    for name, source in (("as_is", reference), ("retrained", found)):
        head = Ridge(source[train], classes[train], count)
        accuracy[name] = float((head.classes(found[data.train :]) == truth).mean())
    return accuracy
