"""Streams an archive's chosen tasks into a training loop; `dsc.stream`."""
