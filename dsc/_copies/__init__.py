"""Archives carried elsewhere: some tasks fetched, or decoded into files again.

- `fetch`: which files of an archive a copy of some tasks takes. `download`: one file, resumed where
  it stopped.
- `export`: samples decoded into files, as their source had them or as other programs want them.
"""
