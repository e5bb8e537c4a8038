"""What all jobs share: a connection to Ray, and what an error means for the work that is left."""
