"""RanPAC: ridge regression on random non-linear features of a frozen backbone's features.

McDonnell, Gong, Parvaneh, Abbasnejad and van den Hengel, "RanPAC: Random Projections and
Pre-trained Models for Continual Learning", NeurIPS 2023, section 4.2 and equation 6: features
h = max(0, Pᵀf) with P drawn once from N(0, 1), and ridge regression on h. The paper has 10,000 of
them, and chooses the strength on a fifth of each increment held out; here a recipe says how many
(`random_features`), and the strength is `Ridge`'s. P follows from the seed and is not kept.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.batches import generator
from dsc._replay.learners.ridge import Ridge
from dsc._replay.learners.views.base import Rows


class RanPac(Ridge):
    """Ridge regression whose features are rectified random projections."""

    name: ClassVar[str] = "ranpac"
    _projection: Tensor | None = None

    def expand(self, rows: Rows) -> Tensor:
        """Return the random features (B, `random_features`) float64 of rows (B, N)."""
        features = super().expand(rows)
        if self._projection is None:
            shape = features.shape[1], self.recipe.random_features
            drawn = torch.randn(shape, generator=generator(self.seed), dtype=torch.float64)
            self._projection = drawn.to(self.device)
        return F.relu(features @ self._projection)
