"""One function per thing the product does; the only writers, each table written by one file.

Functions get a session, never commit, take the time as an argument, and say no with a named error.
"""
