"""Strangers' files as samples: layouts, file formats, and what their values mean."""
