"""A second stream that bounds the error of a lossy codec."""
