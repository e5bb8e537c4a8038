"""What class-incremental learning is judged by, from one matrix of accuracies.

``accuracy[t, k]`` is the share, in percent, of the test images of increment k's classes that are
recognised after increment t, among all classes seen by then; NaN for k > t, and for increments
after which nothing was measured.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsc.errors import UsageError

Matrix = NDArray[np.float64]


def step_accuracy(accuracy: Matrix, counts: Sequence[int]) -> NDArray[np.float64]:
    """Return the accuracy over all classes seen after each increment, A_t, in percent.

    Parameters
    ----------
    accuracy
        (T, T); see the module.
    counts
        Test images of each increment's classes.

    Raises
    ------
    UsageError
        When the shapes do not fit.
    """
    increments = _increments(accuracy)
    if len(counts) != increments:
        raise UsageError(f"{len(counts)} counts for {increments} steps")
    weights = np.asarray(counts, np.float64)
    upto = [slice(t + 1) for t in range(increments)]
    return np.array(
        [accuracy[t, seen] @ weights[seen] / weights[seen].sum() for t, seen in enumerate(upto)]
    )


def average_incremental_accuracy(accuracy: Matrix, counts: Sequence[int]) -> float:
    """Return the mean of A_t over all increments, the first included (Rebuffi et al. 2017)."""
    return float(step_accuracy(accuracy, counts).mean())


def last_accuracy(accuracy: Matrix, counts: Sequence[int]) -> float:
    """Return A_T, the accuracy over all classes at the end."""
    return float(step_accuracy(accuracy, counts)[-1])


def forgetting(accuracy: Matrix) -> float:
    """Return how far each earlier increment's accuracy fell from its best, on average.

    The mean over k < T of max over t < T of a[t, k], less a[T, k] (Chaudhry et al. 2018), in
    percentage points; NaN with a single increment.
    """
    increments = _increments(accuracy)
    if increments == 1:
        return float("nan")
    fallen = [accuracy[k:-1, k].max() - accuracy[-1, k] for k in range(increments - 1)]
    return float(np.mean(fallen))


def backward_transfer(accuracy: Matrix) -> float:
    """Return BWT: the mean over k < T of a[T, k] - a[k, k] (Lopez-Paz and Ranzato 2017)."""
    increments = _increments(accuracy)
    if increments == 1:
        return float("nan")
    return float(np.mean(accuracy[-1, :-1] - np.diag(accuracy)[:-1]))


def paired_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return the mean of `first` - `second`, paired, and half its 95 % confidence interval.

    Student's t with n - 1 degrees of freedom; half the interval is NaN for fewer than two pairs.

    Raises
    ------
    UsageError
        When the lists differ in length or are empty.
    """
    if len(first) != len(second) or not first:
        raise UsageError(f"{len(first)} and {len(second)} values are no pairs")
    differences = np.subtract(first, second).astype(np.float64)
    count = len(differences)
    if count < 2:
        return float(differences.mean()), float("nan")
    half = _t_975(count - 1) * differences.std(ddof=1) / np.sqrt(count)
    return float(differences.mean()), float(half)


def _increments(accuracy: Matrix) -> int:
    if accuracy.ndim != 2 or accuracy.shape[0] != accuracy.shape[1] or not accuracy.size:
        raise UsageError(f"accuracies of shape {accuracy.shape}; expected (steps, steps)")
    return int(accuracy.shape[0])


_T_975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


def _t_975(freedom: int) -> float:
    """Return the 97.5 % point of Student's t: a table, beyond it Cornish and Fisher's expansion."""
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = 1.959964
    z3, z5 = z**3, z**5
    return z + (z3 + z) / (4 * freedom) + (5 * z5 + 16 * z3 + 3 * z) / (96 * freedom**2)
