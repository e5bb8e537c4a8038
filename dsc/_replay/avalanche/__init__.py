"""A buffer as the memory of a strategy of Avalanche.

`storage` is Avalanche's interface; `forms` turns its images into pixels and back; `transforms`
takes a data set's transforms off and puts them on again.
"""
