"""How archives stream into a training loop, beside webdataset, MosaicML streaming and litdata."""
