"""`conformance diff`: two runs compared."""
