"""Which exemplars stay when the budget is used up.

`base` has the protocol, the reservoir and the class-balanced policy; `herding` and `rate_adaptive`
are one each; `registry` has the names.
"""
