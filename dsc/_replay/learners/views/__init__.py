"""What learners are shown of pictures: the pixels, or what a frozen backbone makes of them.

`base` is what a view is, and that of pixels; `frozen` that of a backbone, whose features are
computed once and kept by `store`.
"""
