"""`python -m sdk_contract.conformance`."""

import sys

from sdk_contract.conformance.cli import main

sys.exit(main(sys.argv[1:]))
