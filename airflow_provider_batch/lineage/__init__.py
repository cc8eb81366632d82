"""What a task tells about itself: the report in its log, and metrics."""
