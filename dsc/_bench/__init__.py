"""What ``dsc bench`` and ``python -m benchmarks`` run.

`rate_distortion`: ``dsc bench rd``, codecs compared by bytes, distortion and speed.
`speed`: ``dsc bench speed``, codecs and whole jobs by processor time.
`stream`: ``dsc bench stream``, reading into a training loop beside other libraries.
All share `store` (results are kept as they come, so that a stopped run goes on), `environment`
(processor and versions), `markdown` and `drawing` (tables and pictures), and `server` (HTTP on
loopback that counts bytes and makes faults; the tests use it, too).
"""
