"""Training of learned codecs: equal configurations on equal data give equal runs.

- `config`: what determines a run. `networks`: the networks that can be trained, by name.
- `data`: samples become batches. `objective`: how rate and distortions are weighed.
- `loop`: `Trainer` steps forward, with `schedule` (learning rate), `average` (of the weights),
  `divergence` (when a run is given up) and `log` (what it says of itself). `guidance`: what a
  teacher adds to the loss.
- `checkpoint`: the file that a run is resumed from. `frozen`: runs that train an encoder alone.
- `evaluate`: figures on held-out samples. `export`: the codec file, and whether its real bits are
  those that training counted.
- `session`: all of this for a caller on another machine; `dsc._jobs.training` calls it.
- `adapt`: trains the encoder for a replay buffer, on arrays in memory.
- `models`: training of the small networks that come with dsc. `research`: networks to compare with
  and to learn from, which write no archives.
"""
