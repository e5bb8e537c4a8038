"""The replay buffer: compressed exemplars in one file, under a budget in bytes.

- `buffer` is the API, `ReplayBuffer`: a `reader` (the open file, and what is read from it), and a
  `writer` (options, the lock, transactions) where it is open for writing.
- `format` is what the file says, as arrays and without I/O: the buffer's record, the index of
  exemplars, what each costs. `file` writes these arrays and payloads to HDF5, and reads them.
- `tasks` is what an exemplar holds: a picture, an embedding by a backbone, one or the other.
- `choosing` says which codecs encode what is new: as asked for, by the first images, as learnt.
- `slots` are the codecs that exemplars were encoded with. `snapshot` puts index, payloads and
  codecs together: what the buffer holds at one moment.
- `offered` checks what a user adds; `embedded` makes embeddings of pictures. `update` turns a
  snapshot into the next one: it encodes what is offered into a spool, and a policy settles what
  stays.
- `dataset` gives exemplars to a training loop, by index or in endless random batches; `cache` keeps
  decoded ones in memory. `adapt` trains an encoder for the decoder that a buffer has. `kept`
  spells in words how a buffer keeps exemplars, and opens one that does.
"""
