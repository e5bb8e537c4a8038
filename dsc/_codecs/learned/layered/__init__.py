"""A hierarchical codec: latents of four scales, coarse first, each of which is a stream."""
