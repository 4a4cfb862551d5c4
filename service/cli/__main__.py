"""`python -m service.cli` is `graylag`."""

from service.cli.main import run

run()
