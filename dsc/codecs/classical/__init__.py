"""Classical codecs from imagecodecs behind the interface of `dsc.codecs.base`, one file a codec."""
