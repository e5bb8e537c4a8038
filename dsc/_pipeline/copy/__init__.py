"""Archives carried elsewhere: some tasks fetched, or decoded into files again.

- `fetch`: which files of an archive a copy of some tasks takes. `download`: one file, resumed where
  it stopped.
- `export`: samples decoded into files named as in their source.
"""
