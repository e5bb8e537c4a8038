"""From the data that ``--data`` names to the batches that a network is given.

`datasets` opens a layout or an archive; `samples` reads samples once, keeps them as planes and cuts
crops out; `draw` says what step n trains, by arithmetic; `batches` puts these together, and holds
samples out for evaluation.
"""
