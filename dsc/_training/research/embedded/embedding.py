"""Weights that follow references: w_i = a_i w_ref + b_i, with the gradient that this makes right.

By the chain rule a reference's gradient is ∂L/∂w_ref + Σ a_i ∂L/∂w_i over the weights that follow
it.
"""

import torch
from torch import Tensor


class Embedding:
    """The weights that are embedded so far.

    Parameters
    ----------
    like
        The network's weights, (N,).

    Attributes
    ----------
    indices, references
        Places of embedded weights, rising, and of what each follows, (n,).
    """

    def __init__(self, like: Tensor) -> None:
        self.indices = torch.zeros(0, dtype=torch.long, device=like.device)
        self.references = self.indices
        self._forms = like.new_zeros(0, 2)
        self._factors, self._offsets = self._forms.T

    def add(self, indices: Tensor, references: Tensor, forms: Tensor) -> None:
        """Embed more weights.

        Parameters
        ----------
        indices, references
            Places, (n,). No reference may be embedded, now or later.
        forms
            Their [a b] from now on, (n, 2).

        Raises
        ------
        ValueError
            When a reference would follow another one.
        """
        own = torch.cat([self.indices, indices])
        followed = torch.cat([self.references, references])
        both = own[torch.isin(own, followed)]
        if len(both):
            raise ValueError(f"weight {int(both[0])} is a reference; references are not embedded")
        forms = torch.cat([self._forms, forms.to(self._forms.dtype)])
        rising = own.argsort()  # memory is read in its order, at every step
        self.indices, self.references = own[rising], followed[rising]
        self._forms = forms[rising]
        self._factors, self._offsets = self._forms.T.contiguous()

    def hold(self, weights: Tensor) -> None:
        """Place the embedded ones of the weights (N,) on their forms."""
        reference = weights.index_select(0, self.references)
        held = torch.addcmul(self._offsets, self._factors, reference)
        weights.index_copy_(0, self.indices, held)

    def pass_on(self, gradient: Tensor) -> None:
        """Add to the references' entries of a gradient (N,) what they owe to embedded weights."""
        own = gradient.index_select(0, self.indices)
        gradient.index_add_(0, self.references, own.mul_(self._factors))
