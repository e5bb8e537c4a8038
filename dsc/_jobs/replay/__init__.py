"""Experiments of replay, here or on a cluster."""
