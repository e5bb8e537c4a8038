"""Weighs rate against the distortions of the tasks, and gives the network its gradients.

Every sample has its own λ by task, from its quality (`Network.weight`); R is the bits a pixel of
the streams that the wanted tasks require, and D = Σ_t w_t λ_t · 255² · MSE_t with fixed weights w.
R + D is what every balance reports as its loss, so that runs can be compared:

fixed
    Minimises R + D.
uncertainty
    Kendall et al., "Multi-task learning using uncertainty to weigh losses" (CVPR 2018), as
    Alvandian and Bachmann use it: Σ_t exp(-s_t) D_t + s_t with learned s_t = log σ_t². The network
    sees R + Σ_t (exp(-s_t) / mean_k exp(-s_k)) D_t: without the division, λ would no longer say
    what a bit is worth.
balanced-rd
    Zhang et al., "Balanced rate-distortion optimization in learned image compression" (CVPR 2025),
    solution 1: descend on Σ_i α_i L_i, α_i = c ω_i / L_i for i in (R, D), with c such that the α
    sum to 2, and ω = softmax(ξ). After the step the same batch is coded again, and ξ follows
    δ_i = log L_i(before) - log L_i(after): the slower of the two gets more weight.
balanced-rd-exact
    Its solution 2: ω minimises ‖ω_R ∇log R + ω_D ∇log D‖² on the simplex, which for two losses is
    ω_R = (‖g_D‖² - g_R·g_D) / ‖g_R - g_D‖². Two backward passes a step.

The balanced updates look at logarithms, in which λ is a constant: over a long run they move what a
quality means. Codecs whose qualities shall stay comparable are trained ``fixed``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dsc._codecs.learned.network.trainable import Coded, Network
from dsc._training.config import Balance

XI_RATE, XI_DECAY = 0.025, 0.001  # of solution 1
UNCERTAINTY_RATE = 10.0  # learning rate of s, times that of the network: there are few of them
SMALLEST = 1e-8


@dataclass(frozen=True)
class Losses:
    """The parts of a step's loss, means over the batch.

    Attributes
    ----------
    rate
        Bits a pixel of all streams that were charged.
    distortion
        w_t λ_t · 255² · MSE_t by task.
    guidance
        What a teacher adds (`dsc._training.guidance`); None without one. It is minimised along with
        R + D, and is no part of the loss that is reported.
    """

    rate: Tensor
    distortion: dict[str, Tensor]
    guidance: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """R + D."""
        return self.rate + self.all_distortion

    @property
    def all_distortion(self) -> Tensor:
        """D."""
        return torch.stack(list(self.distortion.values())).sum()


def weigh(
    coded: Coded,
    network: Network,
    quality: Mapping[str, Tensor],
    weights: Mapping[str, float],
) -> Losses:
    """Return rate and weighted distortions of what a network coded.

    Parameters
    ----------
    quality
        1 to 100, (B,), by task.
    weights
        Factor of λ by task, where it is not 1.
    """
    rate = torch.stack([bits.mean() for bits in coded.rate.values()]).sum()
    distortion = {
        task: weights.get(task, 1.0) * (network.weight(task, quality[task]) * error).mean()
        for task, error in coded.distortion.items()
    }
    return Losses(rate, distortion)


class Objective(nn.Module):
    """One of the balances, with what it learns while it runs.

    Parameters
    ----------
    balance
        See the module.
    tasks
        All tasks of the run.
    """

    def __init__(self, balance: Balance, tasks: Sequence[str]) -> None:
        super().__init__()
        self.balance = balance
        self._place = {task: at for at, task in enumerate(tasks)}
        self.log_variance = nn.Parameter(torch.zeros(len(tasks)))
        self.xi = nn.Parameter(torch.zeros(2))
        self._xi_optimiser = torch.optim.Adam([self.xi], lr=XI_RATE, weight_decay=XI_DECAY)

    @property
    def codes_twice(self) -> bool:
        """Whether `observe` wants the losses after the step too."""
        return self.balance == "balanced-rd"

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the parameter groups that train along with the network."""
        if self.balance != "uncertainty":
            return []
        return [{"params": [self.log_variance], "lr": lr * UNCERTAINTY_RATE}]

    def backward(self, losses: Losses, parameters: Sequence[nn.Parameter]) -> None:
        """Set the gradients of the network's parameters (and of what this learns)."""
        if self.balance == "balanced-rd-exact":
            _backward_exact(losses, parameters)
            return
        self._scalar(losses).backward()  # type: ignore[no-untyped-call]

    def _scalar(self, losses: Losses) -> Tensor:
        if self.balance == "uncertainty":
            places = [self._place[task] for task in losses.distortion]
            distortion = torch.stack(list(losses.distortion.values()))
            s = self.log_variance[places]
            share = torch.softmax(-s.detach(), 0) * len(places)
            learned = (torch.exp(-s) * distortion.detach() + s).sum()
            return losses.rate + (share * distortion).sum() + learned
        if self.balance == "balanced-rd":
            pair = torch.stack([losses.rate, losses.all_distortion])
            return (_alphas(torch.softmax(self.xi.detach(), 0), pair.detach()) * pair).sum()
        return losses.total if losses.guidance is None else losses.total + losses.guidance

    def observe(self, before: Losses, after: Losses, lr_share: float) -> None:
        """Move ξ by what a step changed (solution 1).

        Parameters
        ----------
        lr_share
            The learning rate's present part of its peak: balance is sought first, kept later.
        """
        delta = torch.stack([_log(before.rate), _log(before.all_distortion)])
        delta = delta - torch.stack([_log(after.rate), _log(after.all_distortion)])
        omega = torch.softmax(self.xi, 0)
        (self.xi.grad,) = torch.autograd.grad(omega, self.xi, grad_outputs=delta)
        self._xi_optimiser.param_groups[0]["lr"] = XI_RATE * lr_share
        self._xi_optimiser.step()

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint must hold."""
        return {"values": self.state_dict(), "optimiser": self._xi_optimiser.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.load_state_dict(state["values"])
        self._xi_optimiser.load_state_dict(state["optimiser"])


def _backward_exact(losses: Losses, parameters: Sequence[nn.Parameter]) -> None:
    pair = (losses.rate, losses.all_distortion)
    of_rate = torch.autograd.grad(pair[0], parameters, retain_graph=True, allow_unused=True)
    of_distortion = torch.autograd.grad(pair[1], parameters, allow_unused=True)
    values = torch.stack(pair).detach()
    omega_rate = min_norm_weight(of_rate, of_distortion, values)
    omega = torch.stack([omega_rate, 1 - omega_rate])
    alpha_rate, alpha_distortion = _alphas(omega, values)
    for parameter, r, d in zip(parameters, of_rate, of_distortion, strict=True):
        parts = [a * g for a, g in ((alpha_rate, r), (alpha_distortion, d)) if g is not None]
        parameter.grad = torch.stack(parts).sum(0) if parts else None


def min_norm_weight(
    of_rate: Sequence[Tensor | None], of_distortion: Sequence[Tensor | None], values: Tensor
) -> Tensor:
    """Return ω_R in [0, 1] that makes ω_R ∇log R + (1 - ω_R) ∇log D shortest.

    Parameters
    ----------
    of_rate, of_distortion
        Gradients of R and of D by parameter; None where there is none.
    values
        R and D, (2,).
    """
    zero = torch.zeros((), device=values.device)
    rate_rate, both, distortion_distortion = zero, zero, zero
    for r, d in zip(of_rate, of_distortion, strict=True):
        if r is not None:
            rate_rate = rate_rate + (r * r).sum()
        if d is not None:
            distortion_distortion = distortion_distortion + (d * d).sum()
        if r is not None and d is not None:
            both = both + (r * d).sum()
    rate, distortion = values.clamp_min(SMALLEST)
    rate_rate, both = rate_rate / rate**2, both / (rate * distortion)
    distortion_distortion = distortion_distortion / distortion**2
    apart = (rate_rate - 2 * both + distortion_distortion).clamp_min(1e-30)
    weight: Tensor = ((distortion_distortion - both) / apart).clamp(0, 1)
    return weight


def _alphas(omega: Tensor, values: Tensor) -> Tensor:
    """Return the factors (2,) of R and D: ω_i / L_i, scaled to the sum that R + D has."""
    weights = omega / values.clamp_min(SMALLEST)
    alphas: Tensor = 2 * weights / weights.sum()
    return alphas


def _log(loss: Tensor) -> Tensor:
    return loss.detach().clamp_min(SMALLEST).log()
