"""One place of files, local or remote: read, list, write atomically, lock, retry."""
