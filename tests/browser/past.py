"""``python -m tests.browser.past COUNT DAG...``: batches of past weeks, for the database of the environment.

``mapped`` for the count: two batches of a mapped task of the first DAG, a fortnight ago.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone

from tests.web.rows import Written, landed, many, write

if __name__ == "__main__":
    count, *dags = sys.argv[1:]
    if count == "mapped":
        at = datetime.now(timezone.utc) - timedelta(days=14)
        write(*(Written(dags[0], "mapped", map_index=n, at=at, value=landed()) for n in (0, 1)))
    else:
        write(*many(int(count), tuple(dags)))
