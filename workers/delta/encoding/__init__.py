"""Encode the blocks of a patch, in this process and in others."""
