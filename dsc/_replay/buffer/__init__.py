"""The replay buffer: compressed exemplars in one file, under a budget in bytes."""
