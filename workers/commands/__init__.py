"""Commands of the workers' floor: `graylag patch` and `graylag bench`."""
