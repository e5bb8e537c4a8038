"""The files under a root: directories, zip and tar files, servers; and what is not read."""
