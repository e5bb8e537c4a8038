"""Folders of files, one file a task and sample.

- `layout`: what a layout is. `published` has those of known data sets, `general` the four others.
- `placing`: puts the files into the table of samples as the layout says, or leaves them out.
- `source`: what `dsc compress folder` opens.
"""
