"""What dsc is set beside in whole jobs: tars of image files, written and read as users do."""

import io
import tarfile
from pathlib import Path

from dsc._bench.speed.contenders import AVIF, JPEG, PNG, LibraryCall, library_calls
from dsc._bench.speed.frames import HeldSource
from dsc._schemas import TaskKind

ROLES = {TaskKind.IMAGE: "rgb", TaskKind.DEPTH: "depth"}
ENDINGS = {AVIF: "avif", JPEG: "jpg", PNG: "png"}


def fields_of(source: HeldSource, image: str) -> dict[str, tuple[str, LibraryCall]]:
    """Choose for each task the name of its member (``rgb.jpg``, ``depth.png``) and what codes it.

    Parameters
    ----------
    image
        The library call for images; all else is PNG.
    """
    by_name = {call.name: call for call in library_calls()}
    found = {}
    for task in source.tasks:
        name = image if task.kind is TaskKind.IMAGE else PNG
        found[task.name] = (f"{ROLES[task.kind]}.{ENDINGS[name]}", by_name[name])
    return found


def write_tar(source: HeldSource, image: str, out: Path) -> Path:
    """Write all frames to one tar, a member for each task, and return it."""
    fields = fields_of(source, image)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "000000.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(len(source)):
            sample = source.read(index, list(fields))
            for name, array in sample.arrays.items():
                member, call = fields[name]
                data = call.encode(array)
                info = tarfile.TarInfo(f"{sample.key}.{member}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path
