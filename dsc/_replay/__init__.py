"""Replay: byte-budgeted buffers of compressed exemplars, and what learns with them.

`buffer` has the buffer, `policies` what stays in it; `scenario` the increments of classes that
`learners` learn from; `experiment` runs learners with buffers, `selection` chooses a codec without
running them, `avalanche` makes a buffer the memory of a strategy there.
"""
