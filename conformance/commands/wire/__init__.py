"""`conformance wire`: finds the convention of a user's network, and writes the lines that declare it."""
