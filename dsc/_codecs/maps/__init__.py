"""What all codecs of one map share.

- `base`: the bitstream's header, checks, exact or lossy. `small`: a header of one byte.
- `levels`: depth with a relative error that every pixel keeps, and the error of each quality.
- `look_up`: values by table, pixel by pixel.
- `lossy`: maps as images that a lossy format can code; what becomes of invalid pixels.
"""
