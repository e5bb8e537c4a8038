"""Experiments of class-incremental learning: planned, run, resumed, swept, summed up."""
