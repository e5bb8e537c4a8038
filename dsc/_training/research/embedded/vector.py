"""A network's weights as one vector, and Adam on those of them that still train.

Embedding is by scalars that lie scattered over all layers. As views of one vector, the network's
parameters need no copying for that.
"""

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam's state


class WeightVector:
    """All trainable weights of a network, and their gradients, as vectors.

    The network's parameters and their ``grad`` become views of the two: what is written here is
    what the network computes with. Moving the network to another device or memory format, and
    ``zero_grad(set_to_none=True)``, would end that.

    Parameters
    ----------
    network
        With parameters of one dtype and device, dense in memory.

    Attributes
    ----------
    values, gradient
        (N,), in the order of `parameters`.
    parameters
        Those that required gradients.
    spans
        Where in the vector each of them is, (start, stop).
    """

    def __init__(self, network: nn.Module) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        stops = torch.tensor([p.numel() for p in self.parameters]).cumsum(0).tolist()
        self.spans = list(zip([0, *stops[:-1]], stops, strict=True))
        first = self.parameters[0]
        self.values = torch.empty(stops[-1], dtype=first.dtype, device=first.device)
        self.gradient = torch.zeros_like(self.values)
        for parameter, (start, stop) in zip(self.parameters, self.spans, strict=True):
            layout = parameter.shape, parameter.stride()
            own = self.values[start:stop].as_strided(*layout)
            parameter.data = own.copy_(parameter.detach())
            parameter.grad = self.gradient[start:stop].as_strided(*layout)

    def __len__(self) -> int:
        """Return N."""
        return len(self.values)

    def clip(self, norm: float) -> float:
        """Scale the gradient down to at most this norm; return the norm that it had."""
        found = self.gradient.norm()
        self.gradient.mul_((norm / (found + 1e-6)).clamp_max(1.0))
        return float(found)


class TrainedWeights:
    """Those weights of a vector that train, with Adam's state for them alone.

    What is dropped costs the optimiser nothing any more. A reference's gradient grows at once by a
    sum over thousands of weights; Adam, which goes by ratios, then steps at most
    (1 - β1) / √(1 - β2) = 3.2 times its rate.

    Attributes
    ----------
    indices
        Their places in the vector, rising.
    """

    def __init__(self, vector: WeightVector) -> None:
        self._vector = vector
        self.indices = torch.arange(len(vector), device=vector.values.device)
        self._own = nn.Parameter(vector.values)  # the same memory as long as nothing is dropped
        self._adam = torch.optim.Adam([self._own])

    def step(self, lr: float) -> None:
        """Move them by the vector's gradient, at this learning rate."""
        values, gradient = self._vector.values, self._vector.gradient
        self._adam.param_groups[0]["lr"] = lr
        if len(self.indices) == len(values):
            self._own.grad = gradient
            self._adam.step()
            return
        # anew at each step, as an average may have moved them meanwhile
        self._own.data = values.index_select(0, self.indices)
        self._own.grad = gradient.index_select(0, self.indices)
        self._adam.step()
        values.index_copy_(0, self.indices, self._own.data)

    def drop(self, indices: Tensor) -> None:
        """Stop training the weights at these places of the vector; others are ignored."""
        keep = torch.ones(len(self._vector), dtype=torch.bool, device=indices.device)
        keep[indices] = False
        kept = keep[self.indices]
        state = self._adam.state[self._own]
        for name in state.keys() & set(MOMENTS):
            state[name] = state[name][kept]
        self.indices = self.indices[kept]
        self._own.data = self._vector.values[self.indices]
