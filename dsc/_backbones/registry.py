"""Backbones by name. Those of other packages are entry points of the group ``dsc.backbones``.

``timm:NAME`` is a model of timm, where that is installed.

An entry point names what makes a backbone: called without arguments, it returns what does as
`dsc._backbones.base.Backbone` says. A name of dsc's own always means dsc's own.
"""

from functools import cache
from importlib import import_module

from torch import nn

from dsc import _plugins
from dsc._backbones.base import Backbone
from dsc._schemas import Task
from dsc._schemas.extractor import Extractor
from dsc.errors import UsageError

TIMM = "timm:"
BACKBONES: dict[str, str] = {
    "efficientnet-lite0": "dsc._backbones.efficientnet:efficientnet_lite0",
}


def backbone_names() -> tuple[str, ...]:
    """List the backbones there are: dsc's own, then those of installed packages."""
    return (*BACKBONES, *_plugins.plugin_names(_plugins.BACKBONES, BACKBONES))


@cache
def load_backbone(name: str) -> Backbone:
    """Load a backbone with its weights.

    Raises
    ------
    UsageError
        When there is none of that name, or another package's is no backbone.
    MissingPackageError
        When the package that brings its weights is not installed.
    """
    if name in BACKBONES:
        module, _, maker = BACKBONES[name].partition(":")
        own: Backbone = getattr(import_module(module), maker)()
        return own
    if name.startswith(TIMM):
        from dsc._backbones.timm_models import timm_backbone

        return timm_backbone(name)
    make = _plugins.load_plugin(_plugins.BACKBONES, name)
    if make is None:
        known = ", ".join(backbone_names())
        raise UsageError(f"no backbone {name!r}; known: {known}; {TIMM}NAME for models of timm")
    package = _plugins.plugin_package(_plugins.BACKBONES, name)
    found = make() if callable(make) else make
    if not isinstance(found, Backbone) or found.name != name:
        raise UsageError(f"backbone {name!r} of {package} is none, or has another name")
    return found


def load_extractor(extractor: Extractor) -> Backbone:
    """Load the backbone that a task was computed by.

    Raises
    ------
    UsageError
        When the backbone here has other weights, whose numbers mean something else.
    """
    backbone = load_backbone(extractor.backbone)
    if backbone.weights_sha256 != extractor.weights_sha256:
        raise UsageError(
            f"backbone {extractor.backbone}: its weights here have the hash "
            f"{backbone.weights_sha256[:12]}, those that the archive was made with "
            f"{extractor.weights_sha256[:12]}; install the version that the archive was made with"
        )
    return backbone


def tail_of(task: Task, to: str = "logits") -> nn.Module:
    """Return the frozen rest of the network behind a task that it computed.

    It takes feature maps, float32 (B, C, h, w), and lets gradients through to them.

    Parameters
    ----------
    task
        Of an archive: feature maps.
    to
        A later layer, ``embedding``, or ``logits`` where the network has a classifier.

    Raises
    ------
    UsageError
        When no backbone computed the task, its weights here are others, or nothing is behind it.
    MissingPackageError
        When the package that brings the weights is not installed.
    """
    made = task.extractor
    if made is None:
        raise UsageError(
            f"task {task.name}: its source does not say what network it is of: take the rest of "
            "the network from where the features are from"
        )
    return load_extractor(made).tail(made.layer, to)
