"""`graylag ...`: for CI, release managers and ops."""
