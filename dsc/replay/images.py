"""Pictures with labels, from the files that benchmarks of class-incremental learning come in."""

from dsc._replay.scenario.images import LabelledImages, hold_out, load_images, load_split

__all__ = ["LabelledImages", "hold_out", "load_images", "load_split"]
