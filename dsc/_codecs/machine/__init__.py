"""Machine paths: second reconstructions of the AV1 codecs' bitstreams, for what a network sees.

`quantiser` reads how coarsely a picture was quantised, `paths` knows the networks that there are,
`decoder` decodes by them.
"""
