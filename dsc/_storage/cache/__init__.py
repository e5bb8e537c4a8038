"""Packs of remote archives kept on the local disk, and recent ones in memory."""
