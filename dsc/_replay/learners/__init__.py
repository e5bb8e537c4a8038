"""Class-incremental learners that rehearse what a buffer kept."""
