"""What learns from a scenario with a buffer beside it, by the papers that proposed it.

`base` is what every learner is; `gradient` what those do that train a network, and `joint` those of
them that distil; `closed_form` what those do that keep sums of a frozen backbone's features and no
exemplars. Then one file a learner, and a folder for `cl_lora`. `memory` is what they replay,
`batches` images as tensors, `network` the ResNets, `pretrained` networks on a backbone, `registry`
the names, `views` what they are shown of pictures.
"""
