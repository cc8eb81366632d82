"""How landed rows are written for those who read them."""
