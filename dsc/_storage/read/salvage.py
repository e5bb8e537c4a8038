"""Takes what is intact out of a damaged pack, so that one damaged payload costs one sample."""

import zlib
from dataclasses import dataclass

from dsc._storage.read.pack_reader import PackReader
from dsc.errors import LIST_DAMAGE, CorruptPackError


@dataclass(frozen=True)
class SalvagedPack:
    """A pack of which not all payloads are intact.

    Attributes
    ----------
    payloads
        One a sample: its bitstream, None where it does not have this stream, or what is wrong.
    """

    payloads: tuple[memoryview | CorruptPackError | None, ...]


def salvage(reader: PackReader, shard: int, stream: str, pack: int) -> SalvagedPack:
    """Read the payloads of a pack one by one.

    Raises
    ------
    CorruptPackError
        When its header or table is damaged, so that nothing can be told apart.
    """
    table = reader.table(shard, stream, pack)
    record = reader.archive.record(shard, stream)
    where = f"{reader.archive.root.where(record.path)}: pack {pack}"
    first = int(table.starts[0])
    block = memoryview(reader.read_range(shard, stream, first, int(table.ends[-1])))
    found: list[memoryview | CorruptPackError | None] = []
    for k in range(len(table.crcs)):
        payload = block[int(table.starts[k]) - first : int(table.ends[k]) - first]
        got, expected = zlib.crc32(payload), int(table.crcs[k])
        if table.missing[k]:
            found.append(None)
        elif got == expected:
            found.append(payload)
        else:
            found.append(
                CorruptPackError(
                    f"{where}, place {k}: crc {got:08x}, expected {expected:08x}; {LIST_DAMAGE}"
                )
            )
    return SalvagedPack(tuple(found))
