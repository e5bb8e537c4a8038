"""One bitstream, several decoder paths: the multi-path aggregation of Zhang et al., in small.

"All-in-One Image Coding for Joint Human-Machine Vision with Multi-Path Aggregation" (NeurIPS 2024)
gives every block of a picture codec, beside its own multi-layer perceptron (the main path), a small
one for each task (a side path). Which positions of the picture go through which is told by a score
and by one number that the caller sets.

- `levels`: the eight levels of rate, and what part of the positions goes the main way.
- `paths`: main and side paths, the predictor of scores, the split. `blocks`: what has them.
- `spec`, `transforms`, `entropy`: how large a codec is, and its parts.
- `codec`: `MultiPathCodec`: pictures to latents and back by a task's path, and what they cost.
- `losses`: squared error, distance of features, divergence of a task network's answers.
- `task_networks`: small networks that look at decoded pictures. `batches`: what a step sees.
- `training`: the first stage trains all that tasks share; the second one task's paths and nothing
  else, so that bits and all other paths stay as they are.

Plain torch; nothing here needs compressai.
"""
