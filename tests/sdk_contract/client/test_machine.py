import pytest

from sdk_contract.client.machine import Machine, charging


def supply(power, name, **files):
    (power / name).mkdir()
    for file, text in files.items():
        (power / name / file).write_text(f"{text}\n")


BATTERY = {"type": "Battery", "status": "Discharging"}
MOUSE = {"type": "Battery", "scope": "Device"}


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ([], True),
        ([BATTERY], False),
        ([BATTERY, {"type": "Mains", "online": "0"}], False),
        ([BATTERY, {"type": "Mains", "online": "1"}], True),
        ([BATTERY, {"type": "USB", "online": "1"}], True),
        ([MOUSE], True),
        ([{"type": "Mains"}], True),
    ],
)
def test_a_machine_charges_when_a_charger_is_on_or_it_has_no_battery(tmp_path, supplies, expected):
    for number, files in enumerate(supplies):
        supply(tmp_path, str(number), **files)
    assert charging(tmp_path) is expected


def test_a_machine_without_the_kernels_list_counts_as_charging(tmp_path):
    assert charging(tmp_path / "missing")


def test_what_the_operator_knows_better_is_passed_on(tmp_path):
    found = Machine(metered=True, byte_budget=5, power=tmp_path).surroundings()
    assert (found.metered, found.byte_budget, found.charging) == (True, 5, True)
    assert Machine().now().tzinfo is not None
