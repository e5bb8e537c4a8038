"""The conditional network: its sizes, layers, entropy models, and how it is trained."""
