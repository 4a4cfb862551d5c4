"""What a device and the server agree on; the lowest package, which imports none of the others."""
