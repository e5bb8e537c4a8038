"""Training with fewer weights: most of them follow a few by an affine form, or stay as they are.

Weights of a network move in a few modes. In the manner of "Accelerating learned image compression
through modeling neural training dynamics" (2025; STDET), whose base is "embedded correlation mode
decomposition" (CMD, ICLR 2024). After a warm-up, the trajectories of the weights are clustered, and
each weight is written as an affine form of the reference of its mode. Period by period, those whose
form is stable and that the loss hardly depends on stop to train.

- `vector`: a network's weights as one vector, and Adam on those that still train.
- `modes`: sampled trajectories, their correlation, clusters, the reference of each.
- `affine`: least squares [a b] of every weight, kept up to date recursively.
- `choice`: how stable a form is, how much the loss depends on a weight, and who is taken.
- `embedding`: weights held at their forms, and their gradients given to the references.
- `methods`: embedding, true or also dummy, and its controls: the same weights frozen, whole layers
  frozen.
- `run`: one training, of any network that `dsc._training.networks` knows.

For `benchmarks/training_dynamics.py`; no kind and no option of ``dsc train`` uses it.
"""
