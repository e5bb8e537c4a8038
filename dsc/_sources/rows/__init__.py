"""Rows of columns as samples: Parquet and Arrow files, and tables of paths and values.

- `arrow`: what types hold, once extensions and encodings are taken off; values as JSON and back.
- `find`: the files of a data set, and their splits. `groups`: reading them, a row group at a time.
- `look`: what all rows of a column say of it. `forms`: from that, what task it is.
- `cells`: from a cell to the value of its task. `source`: the sources made of these.
"""
