"""A page that shows what is in an archive and what its compression did."""
