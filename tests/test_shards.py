"""Which part of the work is a process's own: options, torchrun, Slurm arrays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.shards import Shard, of_environment, read_shard


@given(st.integers(0, 30), st.integers(1, 12))
def test_parts_cover_everything_once(n: int, count: int) -> None:
    parts = [read_shard(f"{k + 1}/{count}").of(range(n)) for k in range(count)]
    assert sorted(item for part in parts for item in part) == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "-1/2", "1/2/3", "1/1000000", "", "1 / 2"])
def test_nonsense_is_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match="--shard"):
        read_shard(text)


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 20))
def test_a_slurm_array_from_anywhere_in_any_steps(first: int, step: int, count: int) -> None:
    """sbatch --array=first-last:step."""
    found = []
    for task in range(first, first + step * count, step):
        variables = {"ID": task, "MIN": first, "MAX": first + step * (count - 1), "STEP": step, "COUNT": count}
        found.append(read_shard("auto", {f"SLURM_ARRAY_TASK_{k}": str(v) for k, v in variables.items()}))
    assert found == [Shard(k, count) for k in range(count)]


def test_torchrun_goes_before_slurm() -> None:
    variables = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8", "RANK": "1", "WORLD_SIZE": "2"}
    assert read_shard("auto", variables) == Shard(1, 2)
    assert str(read_shard("auto", variables)) == "2/2"
    assert of_environment({}) is None


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"SLURM_ARRAY_TASK_ID": "1"},
        {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "3"},  # --array=1,4,7
        {"SLURM_ARRAY_TASK_ID": "one", "SLURM_ARRAY_TASK_COUNT": "3"},
        {},
    ],
)
def test_an_environment_that_does_not_say_which_part(variables: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"RANK|SLURM|WORLD_SIZE"):
        read_shard("auto", variables)
