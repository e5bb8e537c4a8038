"""Making an archive and adding to it, with processes of this machine or a Ray cluster.

- `compress`, `append`: ``dsc.compress`` and ``dsc.append``, from options to the committed archive.
- `options`: what each is asked. `inputs`: the options held against the dataset.
- `output`: what lies at the output already (nothing, work begun, an archive), and whether to go on.
- `local`, `processes`, `on_ray`: shards are made here, by worker processes of this machine, or as
  tasks of Ray. `tally`: how far they are.
"""
