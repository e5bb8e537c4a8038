"""What values mean: kinds, units, invalid values, and the evidence for them."""
