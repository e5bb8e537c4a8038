"""What both forms of NYU Depth v2 share: keys of frames, the unit of depth, and lists of splits."""

from dsc._files.tree import FileTree
from dsc._sources.meaning.units import parse_depth_unit
from dsc.errors import UsageError


def frame_key(frame: int) -> str:
    """Return the key of a frame."""
    return f"nyu_{frame:06d}"


def frame_unit_m(depth_unit: object) -> float | None:
    """Read the one depth unit that this data set can have.

    Raises
    ------
    UsageError
        When units by component are given.
    """
    unit_m = parse_depth_unit(depth_unit)
    if isinstance(unit_m, dict):
        raise UsageError(f"--depth-unit {depth_unit}: nyuv2 has one camera; give one number")
    return unit_m


def read_split(tree: FileTree, split: str) -> list[int]:
    """Read the frame numbers (from 0) of a split.

    Raises
    ------
    UsageError
        When the list is missing, or holds something else.
    """
    path = f"{split}.txt"
    try:
        words = tree.read(path).decode().split()
        return sorted({int(word) for word in words})
    except FileNotFoundError:
        raise UsageError(
            f"--split {split}: {tree.where(path)} is missing; it lists the split's frame numbers, "
            "from 0, one a line. Without it only --split all is possible"
        ) from None
    except ValueError as error:
        raise UsageError(f"{tree.where(path)}: {error}; expected one number a line") from None
