"""Training of the small networks that come with dsc.

`label_context` trains the model of the codec `label-context`, `restored` the network of
`av1-small-restored`, `machine_path` those of machine paths, `feature` that of `feature-learned`.
``benchmarks/label_weights.py``, ``restored_weights.py``, ``machine_path_weights.py`` and
``learned_feature_weights.py`` there run them.
"""
