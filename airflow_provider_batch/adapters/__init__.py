"""What speaks the language of other packages."""
