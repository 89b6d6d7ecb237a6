"""`conformance wire`: finds the convention of somebody's network, and writes the lines that declare it."""
