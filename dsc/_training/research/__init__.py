"""Networks of papers, to compare with and to learn from; they write no archives.

Those of "Multi-Modal Multi-Task Data Compression" (Alvandian, Bachmann) are built on compressai's
layers and are trained for one rate each; nothing imports them but by a name in
`dsc._training.networks.NETWORKS`. This is the only package that imports compressai. `bound` is a
`layered` network that does not quantise, the teacher of one that does. `mpa` is a
codec whose one bitstream several decoder paths read, in plain torch. `embedded` trains any network
with fewer and fewer weights.
"""
