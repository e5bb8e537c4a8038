"""Trains learned codecs: data, objective, schedule, checkpoints, export."""
