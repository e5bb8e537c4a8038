"""The archive on disk or behind a URL: packs, tars, records, reading and checking. No decoding."""
