"""`conformance function`: whether a gradient that a user wrote by hand is that of the function."""
