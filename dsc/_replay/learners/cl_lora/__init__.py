"""CL-LoRA: adapters that all tasks share, adapters of each task, on a frozen backbone.

He, Duan and Zhu, "CL-LoRA: Continual Low-Rank Adaptation for Rehearsal-Free Class-Incremental
Learning", CVPR 2025. `low_rank` is adapters, `trunk` what they sit on, `convolutional` and
`transformer` the trunks there are; `task` is what is kept of each task, `network` embeds and scores
by it; `losses` and `distillation` keep the past, and `learner` puts all together. `sequential` is
the control without any protection, `adapted_ridge` a stronger classifier on the first task's
adapters.
"""
