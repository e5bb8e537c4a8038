"""Experiments of class-incremental learning: planned, run, resumed, swept, summed up.

`plan` is what determines a run, and a sweep, a grid of them. `sweep` computes the runs
that are not finished, each under its `claim`; `run` computes one, with `checkpoint` to go on from
and `log` to TensorBoard. `metrics` are the formulas, `result` a run's row, `summary` the table of a
sweep, `plots` its pictures.
"""
