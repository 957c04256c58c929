from pathlib import Path

import pytest

from sai_core.annotations import recording_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("fold4_room23_mix001_std.json.gz", "fold4_room23_mix001"),
        ("fold4_room23_mix001_inference.json", "fold4_room23_mix001"),
        ("a/b/fold4_room23_mix001.csv", "fold4_room23_mix001"),
        (Path("/data/mic_dev/x/fold4_room23_mix001.WAV"), "fold4_room23_mix001"),
        ("rec_inference_std.json", "rec"),
        ("plain", "plain"),
        ("v1.2_take3.json", "v1.2_take3"),
        ("_std.json", "_std"),
        (".json", ".json"),
        ("mix_standard.json", "mix_standard"),
    ],
)
def test_recording_name_strips_what_the_layout_adds(path, name):
    assert recording_name(path) == name


def test_recording_name_is_idempotent():
    assert recording_name(recording_name("a_std_inference.json.gz")) == recording_name("a_std_inference.json.gz")
