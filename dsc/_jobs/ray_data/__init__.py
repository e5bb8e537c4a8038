"""Archives as datasets of Ray Data.

`dataset` has `read_archive`, `plan` cuts an archive into read tasks, `datasource` reads them.
"""
