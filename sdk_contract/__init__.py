"""What a device and the server agree on; pure, and the bottom floor of the house."""
