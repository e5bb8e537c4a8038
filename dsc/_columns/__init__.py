"""Columns of values, and conditions on them, worked out for many samples at once.

- `column`: the values of a column for some samples: arrays of numbers, or places in a table.
- `algebra`: what can be done with columns: compared, searched, calculated with.
- `where`: the expressions and functions that say which samples are wanted.
"""
