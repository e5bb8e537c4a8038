"""An archive as a dataset: samples by index or key, decoded."""
