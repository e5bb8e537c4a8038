"""What values mean: kinds, units, invalid values, and the evidence for them.

- `names`: what the name of a directory, file or dataset says.
- `options`: what the user says. `units`: spellings of units of depth.
- `evidence`: what a few of the values show.
- `decide`: from these three, what task it is, and why.
- `decode`: from a file's values to the native array of that task.
"""
