"""Classical codecs, mostly from imagecodecs, behind the codec interface; one file a codec.

`av1_still` takes the container off AVIF and puts it on again, for `avif`, `av1` and `av1_small`;
`ycbcr` gives libavif planes and quality. ``*_bare`` store what is not the same in every picture.
`exact` codes maps of any numbers, `vector` class labels and short vectors.
"""
