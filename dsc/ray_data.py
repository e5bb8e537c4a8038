"""Archives as datasets of Ray Data; needs the extra ``ray-data``."""

from dsc._jobs.ray_data.dataset import read_archive

__all__ = ["read_archive"]
