"""Sources, plan, compress, fetch, export: what happens between a dataset and an archive."""
