"""What of Google's own tests does not pass, and why.

Any other failure fails the run, and so does one of these that passes. ``docs/conformance.md`` lists the same.
"""

from __future__ import annotations

import sys

_TWICE = "theirs: both tests delete the same job, and the second finds none"
_REGISTER = "ours: files:register is not served; it needs a bucket of Google Cloud Storage"
_HTTP = "ours: File.downloadUri is http here, and the SDK finds the name in https addresses only"
_MOCK = "theirs: below Python 3.13 the mock of an async method returns a coroutine; no server is asked"

# Tests of the google-genai wheel by file and function.
EXCEPTIONS = {
    "batches/test_delete.py::test_async_delete": _TWICE,
    "files/test_download.py::test_name_transform_name": _HTTP,
    "files/test_register_table.py::test_register": _REGISTER,
    "files/test_register_table.py::test_async": _REGISTER,
}
if sys.version_info < (3, 13):
    for _name in ("single", "token_refresh", "quota_project", "multiple_uris"):
        EXCEPTIONS[f"files/test_register.py::test_async_{_name}"] = _MOCK
