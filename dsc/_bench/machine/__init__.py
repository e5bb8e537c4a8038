"""What machines lose by compression, over real bits: pixels, features, embeddings.

`pictures` are what is coded, with what is known of them (`datasets` finds them); `carriers` are
what is stored of a picture; `network` is the frozen backbone that both go through; `seen` keeps on
disk what it made of them. Tasks: `classification`, `probes`, `segmentation` and `detection` by
small `heads`. `operations` counts; `run` is the command, `tables` and `plots` show what it found.
"""
