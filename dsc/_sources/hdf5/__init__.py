"""HDF5 files: which of their arrays are samples, and reading them.

- `inventory` lists the datasets of one file; `linked_files` checks those whose values lie in other
  files.
- `make_plan` decides what becomes of them. `layout` tells whether samples are rows, files or
  groups, `names` what the names of files and datasets say; `rows` and `frames` then find the
  samples and their tasks. `plan` is the outcome, `sample_table` says where each value lies.
- `tasks` decides what the tasks of a plan are, from some of their values.
- `reading` keeps files open and reads one value at a time.
- `source` is what `dsc compress hdf5` opens.
"""
