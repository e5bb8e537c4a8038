"""A local page that browses a whole archive: a grid of all samples, each sample task by task.

A small HTTP server answers for one archive, read only (`server`). What it answers is made by
`content`: descriptions, keys and values of samples, pictures. Where a task's bitstream is a file
that browsers show but for its container, the file is put together and sent undecoded; else the
server decodes and colours (`pictures`). `groups` parts the samples by folder or value, `sizes`
counts bytes a sample. The page itself lies in ``page/``: plain HTML, CSS and JavaScript.
"""
