"""Polls: decide what a device gets, grant the attempt, sign the directive, render the response."""
