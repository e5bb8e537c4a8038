"""Adapters that turn a frozen feature codec to one task: parallel prompts, and low-rank ones.

A task has its own small branches beside layers of the codec `feature-learned`, or of the network
behind it; their outputs are added. Each starts at zero, so that a new task's codec is the one that
all share, bit for bit, and nothing but branches ever learns.

Prompts: Shen and Liu, "Parallel task-prompts ICM: a versatile feature codec for machine vision": a
few convolutions beside the transforms, and beside the hyper-networks. Low-rank ones: Hu et al.,
"LoRA: low-rank adaptation of large language models" (ICLR 2022), before the bottleneck as in Zhang
et al. (arXiv 2505.17366), and behind it.

- `parallel`: a layer with a branch, modules that share all but some parts, the hash of what is
  shared. `prompts`, `low_rank`: the branches.
- `students`: what may be adapted, and what to compare it with. `divergences`: how far answers are
  from a teacher's. `training`: the teacher's answers, decoded features' error and bits in one loss.

A branch before the bottleneck or in the entropy model makes a task's latent its own, hence a stream
a task; one behind it reads the stream that all tasks share. Rates are estimated, as in training;
nothing here writes archives.
"""
