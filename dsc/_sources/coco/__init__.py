"""COCO: images, and annotations of the whole data set in JSON files.

- `names` tells what an annotation file holds, and of which split, from its path.
- `scan` finds where images and annotations begin in such a file, without keeping what they say.
- `listing` joins files and images to the table of samples.
- `source` is what `dsc compress coco` opens.
"""
