"""Dataset layouts that dsc can read."""
