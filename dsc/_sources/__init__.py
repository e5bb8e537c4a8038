"""Datasets on disk, as samples: which files there are, what is a sample, and what values mean.

From a directory to tasks, in the order in which it happens:

1. `registry` opens a layout by its name, dsc's own or another package's. `base` says what a source
   must do, and what it may do beside that.
2. `dsc._files` lists what lies below the root, on a disk, in a zip or behind a URL (`tree`), and
   keeps account of what nobody reads (`passed_over`).
3. The layout decides which file is which task of which sample. `taskonomy` and `nyuv2` know their
   files by name. `folder` recognises a data set's published layout (`folder.published`) or one of
   four general ones (`folder.general`); `folder.placing` then puts every file into the table or
   leaves it out. `hdf5` looks at the arrays inside files, which has a map of its own.
4. `file_table` holds the answer, small enough for millions of files; `keys` makes keys of names.
5. `meaning` decides what each task is (`meaning.decide`): from what its name says
   (`meaning.names`), what the user says (`meaning.options`) and what a few of its values show
   (`meaning.evidence`).
6. A sample is read: `dsc._files.formats` turns the bytes of a file into an array, and
   `meaning.decode` that into the native array of its task. `file_source` does so for all layouts
   of separate files.
7. What backbones compute of its pictures comes beside (`computed`).
8. `report` says what was found, decided and left out.

`rendered` needs no files: it renders its samples with `dsc._renderer`.
"""
