"""Write and inspect patch files."""
