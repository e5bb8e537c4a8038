"""Training a codec, here or on a cluster.

`train` is ``dsc.training.train``: it begins or resumes a run, and exports the codec. `run` drives
the loop slice by slice and writes logs and checkpoints; `on_ray` puts the loop into an actor.
"""
