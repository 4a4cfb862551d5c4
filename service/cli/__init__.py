"""The `graylag` command line for CI, release managers and operators."""
