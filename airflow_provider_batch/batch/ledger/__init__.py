"""What is known of a batch: documents beside the results, each written once and never changed."""
