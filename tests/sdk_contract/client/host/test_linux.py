import pytest

from sdk_contract.client.host.linux import LinuxHost, is_charging


def add_power_supply(folder, name, **files):
    (folder / name).mkdir()
    for file, text in files.items():
        (folder / name / file).write_text(f"{text}\n")


BATTERY = {"type": "Battery", "status": "Discharging"}
MOUSE_BATTERY = {"type": "Battery", "scope": "Device"}


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ([], True),
        ([BATTERY], False),
        ([BATTERY, {"type": "Mains", "online": "0"}], False),
        ([BATTERY, {"type": "Mains", "online": "1"}], True),
        ([BATTERY, {"type": "USB", "online": "1"}], True),
        ([MOUSE_BATTERY], True),
        ([{"type": "Mains"}], True),
    ],
)
def test_a_machine_is_charging_with_a_connected_charger_or_without_a_battery(tmp_path, supplies, expected):
    for number, files in enumerate(supplies):
        add_power_supply(tmp_path, str(number), **files)
    assert is_charging(tmp_path) is expected


def test_a_machine_without_the_kernels_power_supply_list_counts_as_charging(tmp_path):
    assert is_charging(tmp_path / "missing")


def test_the_operators_settings_are_part_of_the_conditions(tmp_path):
    found = LinuxHost(metered=True, byte_budget=5, power_supply=tmp_path).conditions()
    assert (found.metered, found.byte_budget, found.charging) == (True, 5, True)
    assert LinuxHost().now().tzinfo is not None
