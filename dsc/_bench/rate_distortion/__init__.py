"""Codecs compared on datasets: rate, distortion, speed; ``dsc bench rd``.

`run` is the command: `candidates` (codecs) and `datasets` (samples) make jobs, `measuring` runs
them in processes, `points` encodes and decodes for one point of rate and distortion; `extras`
measures what stands beside the points (`speed`, bits of each channel: `channels`). From the points
come `curves` (Bjøntegaard-delta rates) and `subsets` (what a choice of tasks costs); `report` holds
all of it, `tables` and `plots` show it.
"""
