"""A file appears whole or not at all."""

import pytest
from upath import UPath

from airflow_provider_batch.rows.storage import opened, published


@pytest.fixture(params=["local", "object storage"])
def folder(request, tmp_path):
    if request.param == "local":
        return UPath(tmp_path / "out")
    return UPath(f"memory://bucket{tmp_path}/out")


def test_a_written_file_appears_with_its_folder(folder):
    with published(folder / "a.jsonl") as file:
        file.write(b"one\ntwo\n")
    with opened(folder / "a.jsonl") as file:
        assert file.readlines() == [b"one\n", b"two\n"]


def test_a_writer_that_fails_leaves_nothing_behind(folder):
    with pytest.raises(RuntimeError), published(folder / "a.jsonl") as file:
        file.write(b"half")
        raise RuntimeError
    assert not (folder / "a.jsonl").exists()


def test_a_writer_that_fails_leaves_the_old_file_as_it_was(folder):
    with published(folder / "a.jsonl") as file:
        file.write(b"old")
    with pytest.raises(RuntimeError), published(folder / "a.jsonl") as file:
        file.write(b"new")
        raise RuntimeError
    assert (folder / "a.jsonl").read_bytes() == b"old"


def test_no_part_file_is_left_beside_a_local_file(tmp_path):
    with published(UPath(tmp_path / "a.jsonl")) as file:
        file.write(b"x")
        assert len(list(tmp_path.iterdir())) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_missing_file_is_not_found_in_either_place(folder):
    with pytest.raises(FileNotFoundError), opened(folder / "no.jsonl"):
        pass
