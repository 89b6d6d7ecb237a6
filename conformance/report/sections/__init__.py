"""One module a section: `context(view)` computes what the template of the same name shows."""
