"""Codecs: the interface, the classical and the learned ones, and the entropy coder."""
