"""How fast codecs and whole jobs are on one core; ``dsc bench speed``.

`run` is the command. `frames` chooses the frames of a data set, kind by kind, with `holes` in depth
where there are none; `contenders` are dsc's codecs and the library calls that users would make
instead; `codecs` times both in turn. `jobs` times what users wait for, `compress` and one epoch of
`stream`, beside tars that are written and read by `rivals`. `clock` counts processor time; `tables`
shows what was found.
"""
