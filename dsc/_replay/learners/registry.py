"""Learners of class-incremental scenarios, one file each; by name in `LEARNERS`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc._replay.learners.base import Learner

LEARNERS = {
    "er": "dsc._replay.learners.er:ExperienceReplay",
    "er-ace": "dsc._replay.learners.er_ace:AsymmetricReplay",
    "derpp": "dsc._replay.learners.derpp:DarkReplay",
    "icarl": "dsc._replay.learners.icarl:ICarl",
    "gdumb": "dsc._replay.learners.gdumb:GDumb",
    "wa": "dsc._replay.learners.wa:WeightAligning",
    "simple-cil": "dsc._replay.learners.simple_cil:SimpleCil",
    "ridge": "dsc._replay.learners.ridge:Ridge",
    "ranpac": "dsc._replay.learners.ranpac:RanPac",
    "cl-lora": "dsc._replay.learners.cl_lora.learner:ClLora",
    "adapted-ridge": "dsc._replay.learners.cl_lora.adapted_ridge:AdaptedRidge",
    "sequential-lora": "dsc._replay.learners.cl_lora.sequential:SequentialLora",
}


def learner_class(name: str) -> "type[Learner]":
    """Return the class that is registered under `name`.

    Raises
    ------
    UsageError
        When there is none; the message lists those there are.
    """
    if name not in LEARNERS:
        raise UsageError(f"unknown learner {name!r}; known: {', '.join(LEARNERS)}")
    module, _, attribute = LEARNERS[name].partition(":")
    found: Any = getattr(import_module(module), attribute)
    return found  # type: ignore[no-any-return]
