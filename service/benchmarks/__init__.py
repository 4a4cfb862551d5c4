"""`graylag bench`: benchmarks of the API."""
