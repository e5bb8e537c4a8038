"""Training of the small networks that come with dsc."""
