"""Sweeps of replay runs: `sweep` here or, by `on_ray`, on a cluster, each run a `task`."""
