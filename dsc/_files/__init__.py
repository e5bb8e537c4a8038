"""Files of datasets: those under a root, in a directory, a zip or tar, behind a URL; their bytes.

- `formats`: the bytes of a file as an array, format by format.
- `tree`: one way to list and read them all. `local`, `packed` and `remote` do it for each kind of
  place; `directories` makes directories of a flat list of paths.
- `passed_over`: what no source reads, and the account of it.
- `likely`: which source reads files of these names.
"""
