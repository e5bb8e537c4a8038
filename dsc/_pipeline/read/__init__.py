"""An archive as a dataset: samples by index or key, decoded.

A sample passes through the files in this order:

`dataset`: `dsc.open` opens an archive; ``dataset[5]`` or a key becomes shard, pack and place, and
`dsc._storage.read.samples` reads the bitstreams of the tasks asked for, and no others.
`decoding`: turns the bitstreams into arrays with the archive's own codecs, or stops at a learned
codec's latents; a sample that cannot be decoded is an error that names file, pack, key and task.
`decoded_cache`: keeps the arrays of samples that were decoded, so that a later epoch decodes none.
`selection`: which samples were asked for, by condition, key, index, split and hash; `columns` reads
the values that conditions are about, the streams of their tasks only.
`sequences`: the recordings of an archive, each with its frames. `frame_index`: which sample is a
frame of some number or time; `window`: the frames around a sample, as they were asked for;
`windowed`: reads those of some samples, each once, and puts them together.
`load_codec`: `dsc.load_codec`, one of those codecs by itself.
Of whole archives: `verify` decodes everything and lists what does not decode, `summary` adds up
what each task costs, `originals` finds the samples that an archive was made of, also where nobody
says where they lie, because this machine made it and remembers (`whereabouts`), `distortion` sets
some samples beside their originals, `values` sums up what is no map.
"""
