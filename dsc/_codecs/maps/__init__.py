"""What all codecs of one map share: checks, levels, invalid pixels, the qualities."""
