"""Data sets that are rendered when they are read, to try dsc without data.

`sample`: rooms, in Taskonomy's encodings (``--views N``). `clevr`: solids on a table.
`recording`: rooms that a camera moves through, frame by frame (``--frames N``).
`further`: tasks of all of them that follow from others, made on request.
"""
