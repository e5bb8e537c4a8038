"""What machines lose by compression, over real bits: pixels, features, embeddings.

`pictures` are what is coded, with what is known of them (`datasets` finds them). `carriers` are
what is stored of a picture: pixels, or what was `extracted`; `contenders` chooses among them.
`network` is the frozen backbone that all go through, and `seen` keeps on disk what it made of them.
Tasks: `classification`, `probes`, `segmentation` and `detection` (`dense`), by small `heads`.
`operations` counts. `measuring` holds one task on one set; `run` is the command, with its
`options`; `tables` and `plots` show what it found.
"""
