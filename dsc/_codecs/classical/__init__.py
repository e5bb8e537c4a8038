"""Classical codecs, mostly from imagecodecs, behind the codec interface; one file a codec."""
