"""The stream of classes that an experiment learns from.

`class_folders` finds ``<class>/<file>`` in folders and archives, `images` loads them as arrays,
`scenario` gives them out in increments of new classes.
"""
