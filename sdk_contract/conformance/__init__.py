"""Tests a device SDK, given as a command, against an honest and a malicious fake server.

`python -m sdk_contract.conformance --sdk "COMMAND ..."`; `sdk_contract/README.md`, section 16, has the protocol.
"""
