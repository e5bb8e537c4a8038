"""A page that shows what is in an archive and what its compression did.

`view` chooses samples and puts the page together (``page.html``), `pictures` draws arrays.
"""
