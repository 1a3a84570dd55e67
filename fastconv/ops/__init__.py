"""The public functions: each puts its arrays in order, makes the spec and dispatches."""
