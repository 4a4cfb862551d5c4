"""`graylag bench poll` and `graylag bench intake`: what a request costs, in proportion to an empty handler."""
