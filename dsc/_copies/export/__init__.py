"""Archives decoded into files that other programs read.

- `run`: opens the archive and calls the target that was asked for with ``--to``.
- `target`: what a target is given and gives back. Each is one file, and an entry in `run.TARGETS`.
- `coco`: the annotation files that the source had, and its images.
- `encode`: a native array as a file of a given ending.
- `webdataset`: plain tars with the keys and endings that the source had.
- `parquet`: files as the Hub has them; `parquet_columns`: what columns tasks become.
- `lerobot`: episodes in Parquet and MP4; `lerobot_features`: what tasks become, `lerobot_video`:
  how frames are encoded, `lerobot_stats`: the figures of each feature.
- `files`: one file a task and sample, named as the source had them.
"""
