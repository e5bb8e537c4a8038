"""NYU Depth v2: frames in folders, and the labelled MATLAB file.

`source` opens either; `mat` reads the file, `frames` is what both share (keys, unit, splits).
"""
