"""Updates the generated parts of `sdk_contract/README.md`: `python -m tests.sdk_contract.readme`."""

import json

from sdk_contract.vectors import FOLDER
from tests.sdk_contract.readme import example
from tests.sdk_contract.readme.fill import README, filled


def main():
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    text = json.dumps(example.as_file(), indent=1) + "\n"
    (FOLDER / "readme_example.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
