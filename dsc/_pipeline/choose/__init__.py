"""Which codec codes which task at which quality, and how a target for the error is met."""
