"""The NYU Depth V2 layouts: frames in folders, and the labelled MATLAB file."""
