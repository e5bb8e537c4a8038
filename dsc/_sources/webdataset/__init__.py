"""Tars as webdataset writes them: files of one sample lie together and differ in their endings.

- `places`: which tars a directory, pattern or URL means, and their splits.
- `members`: the headers of one tar, scanned. `index`: from headers to samples; nothing is read of
  files until a sample is.
- `table`: which bytes of which tar hold which field of which sample, as arrays.
- `fields`: from endings to tasks, and what the tasks are.
- `values`: from a file's bytes to the native array of its task.
- `source`: what `dsc compress webdataset` opens.
"""
