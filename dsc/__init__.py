"""Dataset compression."""
