"""Streams of batches for training: each sample exactly once an epoch, resumable to the sample.

A sample passes through the files in this order:

`open`: `dsc.stream` checks what is asked for (`options`) and opens the archives (`source`: which
packs and samples take part), for one reader of several (`topology`).
`sample_stream`: the object that is iterated. It knows where the epoch stands (`state`), and tells
workers where to begin (`board`).
`order`: which sample stands at which position of an epoch (`groups`: which are decoded together);
`partition`: which positions are a
rank's next batch. Both are arithmetic.
`supply`: reads the packs that the next batches need, ahead of time, and keeps those used last.
`feed`: takes the batch's samples out of their packs, has them decoded, transforms and stacks them
(`collate`), counts them (`report`), and in the training process synthesises latents.
"""
