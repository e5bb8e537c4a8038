"""Features of a frozen backbone, coded by a network of their own at any quality.

- `codec`: `feature-learned`. `weights`: the file of its weights.
- `network`: what is computed; `spec`: its sizes.
"""
