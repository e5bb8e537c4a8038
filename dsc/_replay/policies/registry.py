"""Policies by name."""

from collections.abc import Callable, Mapping
from typing import Any

from dsc._replay.policies.base import ClassBalanced, Policy, Reservoir
from dsc._replay.policies.herding import Herding
from dsc._replay.policies.rate_adaptive import RateAdaptive
from dsc.errors import UsageError

POLICIES: dict[str, Callable[..., Policy]] = {
    Reservoir.name: Reservoir,
    ClassBalanced.name: ClassBalanced,
    Herding.name: Herding,
    RateAdaptive.name: RateAdaptive,
}


def make_policy(policy: str | Policy) -> Policy:
    """Make the policy that a word names; a policy is given back as it is.

    Raises
    ------
    UsageError
        When there is none of that name.
    """
    return policy_from_config({"name": policy}) if isinstance(policy, str) else policy


def policy_from_config(config: Mapping[str, Any]) -> Policy:
    """Make the policy that a buffer was made with.

    Raises
    ------
    UsageError
        When it is not one of dsc's.
    """
    options = dict(config)
    name = options.pop("name", None)
    if name not in POLICIES:
        raise UsageError(
            f"policy {name!r} is not one of {', '.join(POLICIES)}; give an object of your own "
            "class to ReplayBuffer(path, policy=...)"
        )
    return POLICIES[name](**options)
