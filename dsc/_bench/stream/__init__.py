"""How archives stream into a training loop, beside webdataset, MosaicML streaming and litdata.

- `run` is ``dsc bench stream``; `sizes` how much is measured. It measures `traffic` (bytes),
  `speed`, `scale` (millions of samples) and `faults`.
- Data: `material` (views, coded once), `archives` and `rivals` (data sets of them), `synthetic` (an
  archive that is made as it is read), `workshop` (where they lie).
- Each library reads in a process of its own: `children` starts these, `child` is one, `readers`
  what it iterates over.
- `tables` and `plots` show what was found.
"""
