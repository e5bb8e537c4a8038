"""Modes of training: clusters of weights whose trajectories are correlated, each with a reference.

As in embedded CMD: some weights are sampled and clustered; the central one of a cluster is its
reference; every weight of the network then joins the reference that it correlates with most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dsc.errors import UsageError


@dataclass(frozen=True)
class Modes:
    """Which weight belongs to which reference.

    Attributes
    ----------
    references
        Places of the references among all weights, (M,).
    members
        Mode of every weight, (N,) from 0 to M - 1.
    correlation
        |correlation| of every weight's trajectory with its reference's, (N,).
    """

    references: Tensor
    members: Tensor
    correlation: Tensor


def find_modes(
    trajectories: Tensor, spans: Sequence[tuple[int, int]], samples: int, count: int, seed: int
) -> Modes:
    """Find the modes of a training.

    Parameters
    ----------
    trajectories
        Snapshots of all weights, (T, N).
    spans
        Where the weights of each layer are, (start, stop).
    samples, count
        How many weights are clustered, into how many modes.
    seed
        Of the sample.

    Raises
    ------
    UsageError
        When fewer weights moved than there are to be modes.
    """
    chosen = sample_weights(trajectories, spans, samples, seed)
    if len(chosen) < count:
        raise UsageError(
            f"{len(chosen)} of the sampled weights moved in {len(trajectories)} snapshots, which "
            f"cannot make {count} modes; warm up for longer, or ask for fewer modes"
        )
    between = correlation(trajectories[:, chosen], trajectories[:, chosen])
    labels = complete_linkage(1 - between, count)
    references = chosen[central(between, labels, count)]
    with_references = correlation(trajectories, trajectories[:, references])
    strongest = with_references.max(dim=1)
    members = strongest.indices
    members[references] = torch.arange(count, device=members.device)  # two may be alike
    return Modes(references, members, strongest.values)


def sample_weights(
    trajectories: Tensor, spans: Sequence[tuple[int, int]], samples: int, seed: int
) -> Tensor:
    """Draw weights that moved: half of them evenly per layer, half from all alike.

    Returns
    -------
    Tensor
        Their places, each once, rising; at most `samples`.
    """
    random = torch.Generator().manual_seed(seed)
    moved = (trajectories != trajectories[0]).any(dim=0)
    a_layer = max(1, samples // 2 // len(spans))
    drawn = []
    for start, stop in spans:
        places = start + torch.randperm(stop - start, generator=random)
        drawn.append(places[moved[places]][:a_layer])
    of_all = torch.randperm(len(moved), generator=random)
    taken = torch.cat(drawn)[: samples // 2 or 1]
    rest = of_all[moved[of_all] & ~torch.isin(of_all, taken)][: samples - len(taken)]
    return torch.cat([taken, rest]).sort().values


def correlation(trajectories: Tensor, others: Tensor) -> Tensor:
    """Return the |correlation| of (T, n) with (T, m), (n, m); 0 where one does not move."""
    return (_standardised(trajectories).T @ _standardised(others)).abs().clamp_max(1.0)


def _standardised(trajectories: Tensor) -> Tensor:
    centred = trajectories - trajectories.mean(dim=0)
    # of a weight that stands still, rounding of its mean is all that is left
    still = (trajectories == trajectories[0]).all(dim=0)
    return centred.div_(centred.norm(dim=0).clamp_min(1e-30)).masked_fill_(still, 0.0)


def complete_linkage(distance: Tensor, count: int) -> Tensor:
    """Cluster by complete linkage: ever the two whose farthest members are nearest are joined.

    Parameters
    ----------
    distance
        Symmetric, (n, n).
    count
        Clusters that are left.

    Returns
    -------
    Tensor
        Cluster of each, (n,), from 0 to `count` - 1.
    """
    farthest = distance.clone().fill_diagonal_(torch.inf)
    labels = torch.arange(len(farthest), device=distance.device)
    nearest, which = farthest.min(dim=1)
    for _ in range(len(farthest) - count):
        kept = int(nearest.argmin())
        gone = int(which[kept])
        joined = torch.maximum(farthest[kept], farthest[gone])
        farthest[kept], farthest[:, kept] = joined, joined
        farthest[gone], farthest[:, gone] = torch.inf, torch.inf
        labels[labels == gone] = kept
        # distances only grow, so that only who was nearest to one of the two looks again
        stale = (which == kept) | (which == gone)
        stale[kept] = True
        nearest[stale], which[stale] = farthest[stale].min(dim=1)
        nearest[gone] = torch.inf
    return torch.searchsorted(torch.tensor(sorted(set(labels.tolist()))), labels)


def central(between: Tensor, labels: Tensor, count: int) -> Tensor:
    """Return of each cluster the member with the highest mean |correlation| to it, (count,)."""
    same = (labels[:, None] == labels[None, :]).to(between.dtype)
    mean = (between * same).sum(dim=1) / same.sum(dim=1)
    best = [mean.masked_fill(labels != cluster, -1.0).argmax() for cluster in range(count)]
    return torch.stack(best)
