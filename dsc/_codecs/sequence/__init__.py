"""Recordings: groups of consecutive frames, each predicted from others of its group."""
