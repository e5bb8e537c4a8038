"""A small ray tracer that draws rooms and tables with all their maps."""
