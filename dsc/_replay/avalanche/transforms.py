"""The transforms of Avalanche's data sets: taken off, and put together again.

A data set of Avalanche is a tree of parts, each with groups of transforms (``train``, ``eval``),
some of them frozen: these stay with the data. The tree is read through attributes that are not
public, as they are in Avalanche 0.6.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dsc.errors import UsageError


def bare(dataset: Any) -> "Bare":
    """Return the samples of a data set without the transforms that it applies now."""
    data = dataset._flat_data
    group = data._transform_groups.current_group
    return Bare(_without_transforms(data, group), group)


def transforms(dataset: Any) -> dict[str, tuple["Chain", None]]:
    """Return, by group, the transforms of images that a data set applies when it is read.

    Raises
    ------
    UsageError
        When its parts have different ones, or they could not be applied after its frozen ones.
    """
    found = {}
    for group in sorted(_group_names(dataset._flat_data)):
        paths = [list(path) for path in _paths(dataset._flat_data, group)]
        if any(path != paths[0] for path in paths):
            raise UsageError(
                f"a data set whose parts have different {group} transforms; give all the same one"
            )
        free: list[Any] = []
        for frozen, own in paths[0]:
            if frozen and free:
                raise UsageError(
                    f"a data set with frozen {group} transforms over others; freeze those too"
                )
            free += own
        found[group] = (Chain(free), None)
    return found


class Chain:
    """Transforms of an image, one after the other; it travels by pickle."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self._transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        """Apply them."""
        for transform in self._transforms:
            image = transform(image)
        return image


class Bare:
    """The samples of a data set without the transforms of one group."""

    def __init__(self, data: Any, group: str) -> None:
        self._data, self._group = data, group

    def __getitem__(self, index: int) -> Any:
        return self._data._getitem_recursive_call(index, group_name=self._group)


def _without_transforms(data: Any, group: str) -> Any:
    bare = data._shallow_clone_dataset()
    bare._transform_groups[group] = None
    bare._datasets = [
        _without_transforms(one, group) if _has_transforms(one) else one for one in data._datasets
    ]
    return bare


def _paths(data: Any, group: str) -> Iterator[list[tuple[list[Any], list[Any]]]]:
    """Yield (frozen, other) transforms of images, from each innermost data set outward."""
    if not _has_transforms(data):
        yield []
        return
    here = tuple(
        _of_images(groups.transform_groups, group)
        for groups in (data._frozen_transform_groups, data._transform_groups)
    )
    for part in data._datasets:
        for path in _paths(part, group):
            yield [*path, (here[0], here[1])]


def _of_images(groups: Any, group: str) -> list[Any]:
    try:
        transform = groups[group]
    except KeyError:
        return []
    return [] if transform is None else list(transform.flat_transforms(0))


def _group_names(data: Any) -> set[str]:
    if not _has_transforms(data):
        return {"train", "eval"}
    below = [_group_names(part) for part in data._datasets]
    return set(data._transform_groups.transform_groups).union({"train", "eval"}, *below) - {None}


def _has_transforms(data: Any) -> bool:
    return hasattr(data, "_transform_groups")
