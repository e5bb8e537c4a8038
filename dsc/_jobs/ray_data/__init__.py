"""Archives as datasets of Ray Data."""
