"""Rules by id, and which of them a task follows by. A module is imported when it is asked for.

Other packages add rules by entry points of the group ``dsc.rules``, each of which names a class
that does what `Rule` says, under its `id`. An archive names its rules by id, so an id of dsc's own
always means dsc's own, and an id that two packages declare is refused.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import cast

from dsc import _plugins
from dsc._codecs.base import Sample
from dsc._codecs.derived.rule import Rule
from dsc._codecs.derived.ways import FoundRule, LookedAt, Params, Ways, find_ways
from dsc._schemas import Task
from dsc.errors import UnknownCodecError, UsageError

RULES: dict[str, str] = {
    "mask_valid@1": "dsc._codecs.derived.mask_valid:MaskValid",
    "depth_euclidean@1": "dsc._codecs.derived.depth_euclidean:DepthEuclidean",
    "depth_zbuffer@1": "dsc._codecs.derived.depth_euclidean:DepthZbuffer",
    "edge_occlusion@1": "dsc._codecs.derived.edge_occlusion:EdgeOcclusion",
    "edge_texture@1": "dsc._codecs.derived.edge_texture:EdgeTexture",
    "keypoints2d@1": "dsc._codecs.derived.keypoints2d:Keypoints2d",
    "reshading@1": "dsc._codecs.derived.reshading:Reshading",
}
"""Of each rule of dsc's own: its id, and the class that is imported when the id is asked for."""

MEMBERS = ("find", "from_params", "params", "fit", "derive")


def rule_names() -> tuple[str, ...]:
    """List the ids there are: dsc's own, then those of installed packages."""
    return (*RULES, *_plugins.plugin_names(_plugins.RULES, RULES))


def rule_class(rule_id: str) -> type[Rule]:
    """Return the class that is registered under `rule_id`.

    Raises
    ------
    UnknownCodecError
        When there is none; the message lists those there are.
    UsageError
        When it is another package's and cannot be imported, is declared by two, or is no rule of
        that id; the message names the package.
    """
    if rule_id in RULES:
        module, _, name = RULES[rule_id].partition(":")
        own: type[Rule] = getattr(import_module(module), name)
        return own
    found = _plugins.load_plugin(_plugins.RULES, rule_id)
    if found is None:
        raise UnknownCodecError(
            f"this archive has a task that is computed by the rule {rule_id!r}, which this dsc has "
            f"not and no installed package brings (known: {', '.join(rule_names())}); install the "
            "package that brings it, or a newer dsc; other tasks can be read: name them (--tasks)"
        )
    lacking = [name for name in MEMBERS if not callable(getattr(found, name, None))]
    own_id = getattr(found, "id", None)
    if lacking or own_id != rule_id:
        package = _plugins.plugin_package(_plugins.RULES, rule_id)
        wrong = f"lacks {', '.join(lacking)}" if lacking else f"calls itself {own_id!r}"
        raise UsageError(f"rule {rule_id!r} of {package} {wrong}; see dsc.codecs.Rule")
    return cast(type[Rule], found)


def rule_of(rule_id: str, child: Task, inputs: Sequence[Task], params: Params) -> FoundRule:
    """Make the rule that an archive describes, or its ways where it has a list of parameters.

    Raises
    ------
    UnknownCodecError, UsageError
        As `rule_class` does.
    CodecError
        When there is no such rule for these tasks and parameters.
    """
    rule = rule_class(rule_id)
    if isinstance(params, Mapping):
        return rule.from_params(child, inputs, params)
    return Ways.from_params(rule, child, inputs, params)


def find_rule(child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> FoundRule | None:
    """Find the first rule, in the order of `rule_names`, by which a task follows from others.

    Where none holds on all samples, the first that holds on most, in one way or several.

    Parameters
    ----------
    child
        The task that may follow; it is passed over among `parents`.
    parents
        The tasks that it may follow from.
    samples
        Native originals of the child and the parents, by task name.
    """
    others = [task for task in parents if task.name != child.name]
    possible = []
    for rule in map(rule_class, rule_names()):
        looked_at = LookedAt(samples)
        found = rule.find(child, others, looked_at)
        if found is not None:
            return found
        if looked_at.any:
            possible.append(rule)
    ways = (find_ways(rule, child, others, samples) for rule in possible)
    return next((found for found in ways if found is not None), None)
