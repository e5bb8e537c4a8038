"""SimpleCIL: the class whose mean feature has the smallest angle to a picture's.

Zhou, Cai, Ye, Zhan and Liu, "Revisiting Class-Incremental Learning with Pre-Trained Models:
Generalizability and Adaptivity are All You Need", IJCV 2024 (arXiv 2303.07338), section 4.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.closed_form import ClosedFormLearner


class SimpleCil(ClosedFormLearner):
    """Cosine to the means of classes; the length of a picture's own features changes nothing."""

    name: ClassVar[str] = "simple-cil"

    def solve(self) -> Tensor:
        """Return the means at unit length; a sum has the direction of its mean."""
        means = F.normalize(self.sums["classes"][: self.seen], dim=1).T
        return torch.cat([means, means.new_zeros(1, self.seen)])
