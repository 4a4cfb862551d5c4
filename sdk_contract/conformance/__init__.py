"""Plays a good and an evil server at an SDK that is given as a command, and judges what it does.

`python -m sdk_contract.conformance --sdk "COMMAND ..."`; the command's protocol is in `sdk_contract/README.md`.
"""
