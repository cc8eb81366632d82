"""What is known of a batch: documents beside the results, each written once and never changed."""

__all__ = [
    "digests",
    "documents",
    "folder_owner",
    "history",
    "job_names",
    "kept_rows",
    "names",
    "publication",
    "state",
    "storage_errors",
    "store",
]
