"""HDF5 files: which of their arrays are samples, and reading them."""
