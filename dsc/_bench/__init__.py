"""Benchmarks that compare codecs on datasets: rate, distortion, speed; ``dsc bench``."""
