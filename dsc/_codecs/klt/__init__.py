"""Feature maps of a backbone: a transform across channels, one across positions, one step.

A Karhunen-Loève transform takes the channels apart, a cosine transform of small blocks the
positions; what comes out is rounded to whole steps and coded under integer tables by how large each
coefficient usually is: `codec`, `model`, `blocks`, `steps`, `tables`, `learn`.
"""
