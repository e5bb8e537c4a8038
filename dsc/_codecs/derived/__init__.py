"""Tasks that follow from other tasks: rules that compute a map from decoded maps, in integers.

- `rule`: what a rule must do. `rules`: rules by id, and which of them a child follows by.
- A module each: the rules.
"""
