"""Which networks are judged, and why: families, profiles, their numbers."""
