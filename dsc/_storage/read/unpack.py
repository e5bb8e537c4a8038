"""Expands packs in a stock webdataset pipeline."""

from collections.abc import Iterable, Iterator
from typing import Any

from dsc._storage.format.pack import decode_pack
from dsc._storage.read.archive import Archive
from dsc.errors import DscError


class _Dictionaries:
    """The dictionaries of the archive that a tar is part of, which is opened when one is wanted."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._archive: Archive | None = None

    def __call__(self, slot: int) -> bytes | None:
        if self._archive is None:
            try:
                self._archive = Archive.open(self._place)
            except (DscError, OSError, ValueError):
                return None
        return self._archive.dictionary(slot)


def unpack(
    source: Iterable[dict[str, Any]], archive: str | None = None
) -> Iterator[dict[str, Any]]:
    """Expand packs in a stock webdataset pipeline: ``WebDataset(urls).compose(dsc.unpack)``.

    Parameters
    ----------
    source
        webdataset samples, each one pack: ``{"__key__", "__url__", "<stream>.pack": bytes}``.
    archive
        Path or URL of the archive, where packs were compressed with a dictionary and the tars do
        not lie in it (``functools.partial(dsc.unpack, archive=...)``); by default two levels above
        ``__url__``.

    Yields
    ------
    dict
        One a sample: ``__key__`` (its index, nine digits), ``__index__``, ``__url__``, and the
        bitstream under the stream's name, None where the sample does not have it.

    Raises
    ------
    CorruptPackError
        When a pack is damaged, or compressed with a dictionary that is not found.
    """
    known: dict[str, _Dictionaries] = {}
    for sample in source:
        url = str(sample.get("__url__", ""))
        place = url.rpartition("/")[0].rpartition("/")[0] or "." if archive is None else archive
        dictionaries = known.setdefault(place, _Dictionaries(place))
        for name, data in sample.items():
            if not name.endswith(".pack"):
                continue
            stream = name[: -len(".pack")]
            pack = decode_pack(data, f"{url}:{sample.get('__key__', '')}", dictionaries)
            for index, payload in enumerate(pack.payloads, pack.first_index):
                yield {
                    "__key__": f"{index:09d}",
                    "__index__": index,
                    "__url__": sample.get("__url__"),
                    stream: None if payload is None else bytes(payload),
                }
