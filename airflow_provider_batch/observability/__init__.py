"""What a task tells about itself: the report in its log, metrics, OpenLineage."""

__all__ = ["metrics", "openlineage", "task_log"]
