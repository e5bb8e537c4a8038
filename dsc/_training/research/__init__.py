"""The networks of "Multi-Modal Multi-Task Data Compression" (Alvandian, Bachmann), to compare with.

They are built on compressai's layers, are trained for one rate each, and write no archives. This is
the only package that imports compressai; nothing imports it but by a name in
`dsc._training.networks.NETWORKS`.
"""
