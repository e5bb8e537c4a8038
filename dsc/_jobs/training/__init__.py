"""Training a codec, here or on a cluster."""
