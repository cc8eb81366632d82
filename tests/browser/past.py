"""``python -m tests.browser.past COUNT DAG...``: batches of past weeks, for the database of the environment."""

from __future__ import annotations

import sys

from tests.ui.rows import many, write

if __name__ == "__main__":
    write(*many(int(sys.argv[1]), tuple(sys.argv[2:])))
