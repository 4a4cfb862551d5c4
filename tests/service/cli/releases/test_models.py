from tests.service.support.actors import publish


def test_updates_of_a_model_are_disabled_and_enabled(graylag):
    publish(graylag.live, "v1", b"weights of the kill switch", barrier=True)
    assert "enabled" in graylag("model", "list")
    disabled = graylag("model", "disable", "m", "--reason", "rude answers")
    assert disabled.strip() == "updates of m are disabled"
    assert graylag.json("model", "show", "m")["disabled"]
    assert graylag("model", "enable", "m", "--reason", "fixed").strip() == "updates of m are enabled"


def test_a_model_is_shown_with_its_versions(graylag):
    publish(graylag.live, "v1", b"weights of a barrier", barrier=True)
    shown = graylag("model", "show", "m")
    assert "updates of m are enabled" in shown
    assert "barrier" in shown
    assert "v1" in shown
    assert "[unknown_model]" in graylag("model", "show", "x", status=1)


def test_disabling_requires_a_reason(graylag):
    publish(graylag.live, "v1", b"weights without a reason")
    assert "[reason_required]" in graylag("model", "disable", "m", "--reason", " ", status=1)
