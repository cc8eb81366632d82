"""Files that rows name: found in one folder only, put into the row if small, else named by their content."""

import base64
import hashlib
import json
import os

import pytest
from upath import UPath

from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.media import RowFiles, with_addresses
from airflow_provider_batch.gemini.rows.requests import RequestTemplate
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.media import MediaFolder

CAT = b"\x89PNG cat"
CAT_MARK = hashlib.sha256(CAT).hexdigest()


@pytest.fixture(params=["local", "object storage"])
def folder(request, tmp_path):
    """A folder with a few files, and a secret beside it."""
    root = UPath(tmp_path) if request.param == "local" else UPath(f"memory://bucket{tmp_path}")
    for name, content in {
        "pictures/cat.png": CAT,
        "pictures/deep/a #1.JPG": b"jpg",
        "pictures/empty.png": b"",
        "pictures/thing.xyz": b"?",
        "secret.png": b"secret",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root / "pictures"


def naming(uri, **more):
    parts = [{"text": "What is it?"}, {"fileData": {"fileUri": uri, **more}}]
    return json.dumps({"key": "a", "request": {"contents": [{"parts": parts}]}}).encode()


def part(line):
    return json.loads(line)["request"]["contents"][0]["parts"][1]


def found(folder, line, inline_up_to=0):
    return part(RowFiles(MediaFolder(folder, inline_up_to)).line(line))


def test_a_file_is_named_by_its_path_and_the_digest_of_its_content(folder):
    assert found(folder, naming("cat.png")) == {
        "fileData": {"mimeType": "image/png", "fileUri": f"cat.png#sha256={CAT_MARK}"}
    }


def test_a_small_file_is_put_into_the_row(folder):
    inline = {"mimeType": "image/png", "data": base64.b64encode(CAT).decode()}
    assert found(folder, naming("cat.png"), len(CAT)) == {"inlineData": inline}
    assert "fileData" in found(folder, naming("cat.png"), len(CAT) - 1)


def test_a_row_that_was_checked_before_is_checked_anew(folder):
    assert f"cat.png#sha256={CAT_MARK}" in str(found(folder, naming("cat.png#sha256=" + 64 * "0")))


def test_the_other_spelling_of_the_fields_is_understood(folder):
    line = naming("cat.png").replace(b"fileData", b"file_data").replace(b"fileUri", b"file_uri")
    assert found(folder, line)["fileData"]["mimeType"] == "image/png"


@pytest.mark.parametrize("name", ["deep/a #1.JPG", "./deep//a #1.JPG"])
def test_names_may_hold_folders_spaces_and_signs(folder, name):
    data = found(folder, naming(name))["fileData"]
    assert data["fileUri"].startswith("deep/a #1.JPG#sha256=")
    assert data["mimeType"] == "image/jpeg"


def test_an_absolute_name_inside_the_folder_is_taken(folder):
    assert found(folder, naming(f"{folder}/cat.png"))["fileData"]["fileUri"].startswith("cat.png#")


def test_a_media_type_that_the_row_says_is_taken(folder):
    assert found(folder, naming("thing.xyz", mimeType="image/png"))["fileData"]["mimeType"] == "image/png"


@pytest.mark.parametrize(
    "uri",
    [
        "https://generativelanguage.googleapis.com/v1beta/files/abc",
        "https://www.youtube.com/watch?v=abc",
        "https://example.com/cat.png",
    ],
)
def test_addresses_are_left_to_the_check_and_the_api(folder, uri):
    assert found(folder, naming(uri)) == part(naming(uri))


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("dog.png", "there is no file 'dog.png' in the media folder"),
        ("empty.png", "the file 'empty.png' is empty"),
        ("thing.xyz", "the type of 'thing.xyz' is not known. Set fileData.mimeType"),
        ("../secret.png", "the file '../secret.png' is not in the media folder"),
        ("deep/../../secret.png", "is not in the media folder"),
        ("/etc/passwd", "the file '/etc/passwd' is not in the media folder"),
        ("file:///etc/passwd", "is not in the media folder"),
        ("gs://another/cat.png", "is not in the media folder"),
    ],
)
def test_a_file_that_cannot_be_used_makes_a_bad_row(folder, uri, what):
    with pytest.raises(BadRowError) as bad:
        found(folder, naming(uri))
    assert (bad.value.code, bad.value.key) == ("AGB-I18", "a")
    assert what in bad.value.what


@pytest.fixture
def pictures(tmp_path):
    """A folder on a disk, reached by a link itself, with links and a pipe in it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "cat.png").write_bytes(CAT)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "real" / "inside.png").symlink_to("cat.png")
    (tmp_path / "real" / "outside.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "real" / "folder.png").mkdir()
    os.mkfifo(tmp_path / "real" / "pipe.png")
    (tmp_path / "pictures").symlink_to("real")
    return UPath(tmp_path / "pictures")


def test_a_link_within_the_folder_is_followed(pictures):
    said = found(pictures, naming("inside.png"), inline_up_to=100)
    assert base64.b64decode(said["inlineData"]["data"]) == CAT


@pytest.mark.parametrize("inline_up_to", [0, 100], ids=["uploaded", "in the row"])
@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("outside.png", "'outside.png' is a link that leads out of the media folder"),
        ("up/secret.png", "'up/secret.png' is a link that leads out of the media folder"),
        ("pipe.png", "'pipe.png' is not a regular file"),
        ("folder.png", "'folder.png' is not a regular file"),
    ],
)
def test_a_link_out_of_the_folder_and_a_pipe_are_never_read(pictures, uri, what, inline_up_to):
    with pytest.raises(BadRowError) as bad:
        found(pictures, naming(uri), inline_up_to)
    assert bad.value.code == "AGB-I18"
    assert what in bad.value.what


def test_a_name_that_only_looks_checked_is_refused_where_rows_may_not_name_files():
    line = naming("cat.png#sha256=" + 64 * "0", mimeType="image/png")
    with pytest.raises(BadRowError, match="Give the media folder to have files uploaded"):
        GeminiRows().check_request(line)
    assert GeminiRows(with_files=True).check_request(line).uploads == 1


ESCAPED = [
    naming("cat.png").replace(b"fileUri", rb"file\u0055ri"),
    naming("cat.png").replace(b"fileUri", rb"\u0066ile_uri"),
    naming("cat.png").replace(b"fileData", rb"file\u0044ata"),
    naming("cat.png").replace(b"contents", rb"content\u0073"),
]


@pytest.mark.parametrize("line", ESCAPED)
def test_a_name_that_is_written_with_escapes_is_looked_at_all_the_same(folder, line):
    uri = json.loads(RowFiles(MediaFolder(folder, 0)).line(line))["request"]["contents"][0]["parts"][1]
    assert uri["fileData"]["fileUri"] == f"cat.png#sha256={CAT_MARK}"
    with pytest.raises(BadRowError, match="is not in the media folder"):
        RowFiles(MediaFolder(folder, 0)).line(line.replace(b"cat.png", b"../secret.png#sha256=" + 64 * b"0"))


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "https://example.com/a.png", "a/../../b"])
def test_what_leads_out_of_the_folder_never_counts_as_checked(path):
    line = naming(f"{path}#sha256={64 * '0'}", mimeType="image/png")
    if path.startswith("https://"):
        assert GeminiRows(with_files=True).check_request(line).uploads == 0
    else:
        with pytest.raises(BadRowError, match="neither a file"):
            GeminiRows(with_files=True).check_request(line)
    assert with_addresses(line, None) == line


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_a_file_in_a_system_instruction_is_found_as_any_other(folder, name):
    row = json.loads(naming("cat.png"))
    row["request"][name] = {"parts": [{"fileData": {"fileUri": "cat.png"}}]}
    made = json.loads(RowFiles(MediaFolder(folder, 0)).line(json.dumps(row).encode()))
    assert made["request"][name]["parts"][0]["fileData"]["fileUri"].startswith("cat.png#sha256=")


@pytest.mark.parametrize("name", ["n" * 5_000 + ".png", "a\x01b.png", ".", "d/" * 3_000 + "a.png"])
def test_a_name_that_no_file_can_have_makes_a_bad_row(folder, name):
    with pytest.raises(BadRowError) as bad:
        found(folder, naming(name))
    assert bad.value.code == "AGB-I18"


def test_a_link_to_itself_makes_a_bad_row(pictures):
    (pictures / "loop.png").symlink_to("loop.png")
    with pytest.raises(BadRowError, match="loop"):
        found(pictures, naming("loop.png"))


def test_addresses_take_the_place_of_names_at_the_last_moment(folder):
    line = RowFiles(MediaFolder(folder, 0)).line(naming("cat.png"))
    sent = with_addresses(line, lambda file, kind: f"https://api/{file.path}/{file.sha256[:4]}/{kind}")
    assert part(sent)["fileData"]["fileUri"] == f"https://api/cat.png/{CAT_MARK[:4]}/image/png"
    assert with_addresses(naming("https://youtu.be/x"), None) == naming("https://youtu.be/x")


def test_columns_with_names_of_files_stand_before_the_text():
    template = RequestTemplate("Label {id}", "id", media_columns=["photo", "more"])
    row = {"id": 1, "photo": "a.png", "more": ["b.png", "c.png"]}
    parts = json.loads(template.line(row))["request"]["contents"][0]["parts"]
    names = [part["fileData"]["fileUri"] for part in parts[:3]]
    assert (names, parts[3]) == (["a.png", "b.png", "c.png"], {"text": "Label 1"})


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"id": 1}, "no column 'photo' for a file"),
        ({"id": 1, "photo": None}, "column 'photo' must hold the name of a file, not null"),
        ({"id": 1, "photo": ["a.png", 3]}, "must hold the name of a file, not number"),
    ],
)
def test_a_row_without_its_file_is_a_bad_row(row, what):
    with pytest.raises(BadRowError, match=what):
        RequestTemplate("Label", "id", media_columns=["photo"]).line(row)
