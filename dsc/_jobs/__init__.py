"""Where work runs: in this process, or on Ray on this machine or a cluster.

`archive` compresses and appends, `training` trains, `replay` computes sweeps, `ray_data` reads
archives into Ray Data. `workers` is what they share: Ray, and which errors are worth another try.
"""
