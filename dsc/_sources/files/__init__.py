"""The files under a root: in a directory, in a zip or tar, behind a URL; and what is not read.

- `tree`: one way to list and read them all. `local`, `packed` and `remote` do it for each kind of
  place; `directories` makes directories of a flat list of paths.
- `passed_over`: what no source reads, and the account of it.
"""
