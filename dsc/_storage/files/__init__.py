"""Where files are read, written and locked: one layer for archives, sources, buffers and caches.

`place` takes apart what a person writes; `remote` (over `http`, with `retry`) makes every file
system of fsspec alike. On these stand `root.Root`, a directory whose files have plain names, as an
archive's have, and the sources' `FileTree`, which takes any name that a data set may have. `atomic`
writes files that are whole or not there, `lock` holds all locks, `writable` tells beforehand
whether something can be written, `ranges` plans which bytes to ask for, `counts` says what it cost.
"""
