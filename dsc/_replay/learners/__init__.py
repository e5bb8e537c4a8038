"""What learns from a scenario with a buffer beside it, by the papers that proposed it.

`base` is what every learner does, and `joint` what those do that distil; then one file a learner.
`memory` is what they replay, `batches` images as tensors, `network` the ResNets, `registry` the
names.
"""
