"""The lossless codec of label maps."""
