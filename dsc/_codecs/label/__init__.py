"""Label maps without loss, and normals of few directions as label maps.

- `scan`: `label-scan`. `codec`: `label-context`. `palette`: labels numbered, and their names.
- `normals`: `normal-palette`. `directions`: which normals are merged.
"""
