"""An archive as it is read: manifest, packs, single samples, and what damage leaves of them.

- `archive`: manifest, records, keys. `tar_index`: where packs lie in a tar.
- `pack_reader`: packs in few requests; when one is fetched again, and what is salvaged of it.
- `samples`: single samples: the whole pack, or only their bytes.
- `verify`: every byte checked, all damage listed.
"""
