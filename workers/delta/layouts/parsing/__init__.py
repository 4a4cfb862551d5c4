"""Bounded access to untrusted files, and the encodings that several formats are built on."""
