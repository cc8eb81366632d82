"""Files that rows name are uploaded once each, live longer than the batch, and go when it is complete."""

from __future__ import annotations

import json

import pytest

from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.errors import ConfigError, InputError
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from faults.task import ask


def calls(emulator, name):
    return [call for call in emulator.journal() if call["call"] == name]


def showing(key, *names):
    files = [{"fileData": {"fileUri": name}} for name in names]
    return {"key": key, "request": {"contents": [{"parts": [*files, {"text": f"What is {key}?"}]}]}}


@pytest.fixture
def pictures(folder):
    """Three pictures, two of them the same."""
    for name, content in {"a.png": b"A" * 1000, "b.png": b"B" * 2000, "a-again.png": b"A" * 1000}.items():
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        (folder / "pictures" / name).write_bytes(content)
    return folder / "pictures"


@pytest.fixture
def shop(task, pictures):
    """Five rows that name the pictures."""
    rows = [
        showing("1", "a.png"),
        showing("2", "b.png"),
        showing("3", "a-again.png", "b.png"),
        showing("4", "a.png"),
    ]
    return task.but(rows=[*rows, ask("5")], files=pictures)


def uploads(emulator):
    """Sizes of the uploaded files that are no rows."""
    return sorted(
        call["sizeBytes"] for call in calls(emulator, "files.create") if call["displayName"][:4] == "agb-"
    )


def test_each_content_is_uploaded_once_and_every_row_is_answered(shop, gemini_emulator):
    assert shop.finish().counts == {"success": 5}
    assert uploads(gemini_emulator) == [1000, 2000]


def test_the_files_are_deleted_when_the_batch_is_complete(shop, gemini_emulator):
    shop.finish()
    created = {call["file"] for call in calls(gemini_emulator, "files.create")}
    assert created == {call["file"] for call in calls(gemini_emulator, "files.delete")}
    assert len(created) == 3


def test_rows_that_failed_are_kept_with_the_names_of_their_files(shop, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["3"], error={"code": 3, "message": "no"})
    assert shop.finish().counts == {"success": 4, "error": 1}
    (failed,) = (json.loads(line) for line in (shop.folder / "failed.jsonl").read_text().splitlines())
    parts = failed["request"]["contents"][0]["parts"]
    assert [part["fileData"]["fileUri"].split("#")[0] for part in parts[:2]] == ["a-again.png", "b.png"]
    again = shop.but(folder=shop.folder / "again", rows=[failed], identity=Identity("dag", "again", "run"))
    assert again.finish().counts == {"success": 1}


def test_rows_that_are_sent_again_find_their_files_again(shop, gemini_emulator):
    gemini_emulator.add_fault(
        action="rows", mutation="error", keys=["2"], error={"code": 13, "message": "try again"}
    )
    assert shop.finish().counts == {"success": 5}
    assert uploads(gemini_emulator) == [1000, 2000]


class Killed(BaseException):
    """What a killed worker does not survive."""


def dying_at(call):
    """Dies in a call of the service."""

    def wrap(service):
        def killed(*_):
            raise Killed

        setattr(service, call, killed)
        return service

    return wrap


def test_a_try_that_was_killed_in_the_middle_goes_on_with_what_is_uploaded(shop, gemini_emulator):
    with pytest.raises(Killed):
        shop.but(wrap=dying_at("stage")).attempt()
    assert uploads(gemini_emulator) == [1000, 2000]
    assert shop.finish().counts == {"success": 5}
    assert uploads(gemini_emulator) == [1000, 2000]


def knowing_the_time(service):
    """Has had an answer from the API before it is used."""
    service.check_model("gemini-2.5-flash")
    return service


def test_files_that_would_end_before_the_batch_are_uploaded_anew(shop, gemini_emulator):
    with pytest.raises(Killed):
        shop.but(wrap=dying_at("stage")).attempt()
    gemini_emulator.advance_clock(13 * 3600)
    assert shop.but(wrap=knowing_the_time).finish().counts == {"success": 5}
    assert uploads(gemini_emulator) == [1000, 1000, 2000, 2000]
    assert len(calls(gemini_emulator, "files.delete")) == 5


def test_an_upload_of_rows_with_older_addresses_is_not_gone_on_with(shop, gemini_emulator):
    def dying_after_the_session(service):
        def stage(rows, size, name, session):
            with GeminiClient(Endpoint(ApiKey(shop.key), base_url=shop.base_url)) as client:
                session.save(client.start_upload(size, name))
            raise Killed

        service.stage = stage
        return service

    with pytest.raises(Killed):
        shop.but(wrap=dying_after_the_session).attempt()
    gemini_emulator.advance_clock(13 * 3600)
    shop.but(wrap=knowing_the_time).attempt()
    assert [name for name in shop.ledger.names() if name.endswith(".file.json")] == ["r1.s1.f2.file.json"]
    assert shop.finish().counts == {"success": 5}


def test_small_files_go_with_their_rows(shop, gemini_emulator):
    assert shop.but(inline_up_to=1000).finish().counts == {"success": 5}
    assert uploads(gemini_emulator) == [2000]


def test_all_rows_are_checked_before_the_first_file_is_uploaded(shop, gemini_emulator):
    with pytest.raises(InputError, match=r"AGB-I18 row 6 \(key '6'\): there is no file 'c\.png'"):
        shop.but(rows=[*shop.rows, showing("6", "c.png")]).attempt()
    assert not calls(gemini_emulator, "files.upload.start")


def test_other_content_under_the_same_name_is_other_rows(shop, pictures):
    shop.attempt()
    (pictures / "b.png").write_bytes(b"C" * 2000)
    with pytest.raises(ConfigError, match="was submitted for this task with other rows"):
        shop.attempt()


def test_a_file_that_changes_after_the_check_is_not_sent(shop, pictures, gemini_emulator):
    def late(service):
        check = service.check_model

        def checked(model):
            (pictures / "b.png").write_bytes(b"C" * 2000)
            return check(model)

        service.check_model = checked
        return service

    with pytest.raises(InputError, match=r"AGB-I22 The file 'b\.png' in the media folder has changed"):
        shop.but(wrap=late).attempt()
    assert not calls(gemini_emulator, "batches.create")


def test_a_batch_whose_folder_of_files_was_forgotten_says_so(shop, gemini_emulator):
    with pytest.raises(Killed):
        shop.but(wrap=dying_at("upload_media")).attempt()
    with pytest.raises(ConfigError, match="the media folder is not given any more"):
        shop.but(files=None).resume()
    assert not calls(gemini_emulator, "files.create")


def test_a_file_that_the_api_is_still_reading_is_waited_for(shop, gemini_emulator):
    gemini_emulator.add_fault(action="processing", seconds=1)
    assert shop.finish().counts == {"success": 5}


def test_a_dry_run_uploads_no_file(shop, gemini_emulator):
    assert shop.estimated().rows == 5
    assert not calls(gemini_emulator, "files.upload.start")
