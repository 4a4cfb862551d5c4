"""Where the tensors of a model file lie: one reader per format, none of which trusts the file."""
