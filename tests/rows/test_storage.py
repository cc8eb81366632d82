"""A file appears whole or not at all."""

import os
from pathlib import Path

import pytest
from upath import UPath

from airflow_provider_batch.rows.storage import Behind, keep, opened, published, ready, spool


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


@pytest.mark.parametrize("is_near", [True, False], ids=["made where it is kept", "made elsewhere"])
def test_a_spool_can_be_kept_and_leaves_nothing_else(folder, tmp_path, is_near):
    with spool(folder / "deeper" if is_near else None) as file:
        file.write(b"one\n")
        file.write(b"two\n")
        keep(file, folder / "deeper" / "a.jsonl")
    with opened(folder / "deeper" / "a.jsonl") as kept:
        assert kept.read() == b"one\ntwo\n"
    assert {p.name for p in (folder / "deeper").iterdir()} == {"a.jsonl"}


def test_a_kept_spool_takes_the_place_of_what_was_there(folder):
    for content in (b"old and longer", b"new"):
        with spool(folder) as file:
            file.write(content)
            keep(file, folder / "a.jsonl")
    with opened(folder / "a.jsonl") as kept:
        assert kept.read() == b"new"


def test_a_spool_that_is_not_kept_is_gone(tmp_path):
    with spool(UPath(tmp_path / "not" / "there")) as file:
        file.write(b"x")
        file.flush()
        assert list(tmp_path.rglob("*")) == []


def test_rows_that_were_kept_are_readable_by_their_owner_alone(tmp_path):
    with spool(UPath(tmp_path)) as file:
        keep(file, UPath(tmp_path / "a.jsonl"))
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("with_twin", [True, False])
def test_a_file_that_is_ready_takes_the_place_of_what_was_there_in_one_step(folder, with_twin):
    for name, content in {"a.jsonl": b"rows", "b.jsonl": b"something longer"}.items():
        with published(folder / name) as file:
            file.write(content)
    twin = folder / "a.jsonl" if with_twin else None
    with opened(folder / "a.jsonl") as file, ready(file, folder / "b.jsonl", twin) as put_in_place:
        assert (folder / "b.jsonl").read_bytes() == b"something longer"
        put_in_place()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.jsonl": b"rows", "b.jsonl": b"rows"}


def test_a_file_that_was_ready_and_not_put_in_place_leaves_nothing_behind(folder):
    with spool() as file, ready(file, folder / "b.jsonl"):
        file.write(b"rows")
    assert not folder.exists() or list(folder.iterdir()) == []


def test_what_is_written_behind_is_all_there_in_order_when_the_block_ends(tmp_path):
    pieces = [bytes([number % 256]) * (number * 997 % 50_000) for number in range(200)]
    with (tmp_path / "a").open("wb") as file:
        with Behind(file) as behind:
            for piece in pieces:
                behind.write(piece)
        assert file.tell() == sum(map(len, pieces))
    assert (tmp_path / "a").read_bytes() == b"".join(pieces)


@pytest.mark.parametrize("pieces", [1, 20])
def test_a_disk_that_is_full_shows_at_the_end_of_the_block_at_the_latest(pieces):
    with Path("/dev/full").open("wb", buffering=0) as full:  # noqa: SIM117
        with pytest.raises(OSError, match="No space left"), Behind(full) as behind:
            for _ in range(pieces):
                behind.write(b"x" * 100)


def test_an_error_of_the_block_is_not_hidden_by_what_could_not_be_written():
    with Path("/dev/full").open("wb", buffering=0) as full:  # noqa: SIM117
        with pytest.raises(ValueError, match="the reason"), Behind(full) as behind:
            behind.write(b"x")
            raise ValueError("the reason")


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "plan.json"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path = Path("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(OSError, match=r"Not a regular file|Is a directory"), opened(UPath(path)):
        pass
