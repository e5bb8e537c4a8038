"""Training of the small networks that come with dsc.

`label_context` trains the model of the codec `label-context`, `restored` the network of
`av1-small-restored`. ``benchmarks/label_weights.py`` and ``restored_weights.py`` there run them.
"""
