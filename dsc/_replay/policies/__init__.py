"""Which exemplars stay when the budget is used up."""
